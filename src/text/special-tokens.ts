/** A token beside the BPE vocabulary, in the form of tokenizer.json's `added_tokens`. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  single_word?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  normalized?: boolean;
}

/** Qwen2.5's control tokens: what is special when the checkpoint does not say. `<tool_call>`, `<|fim_prefix|>`, `<box>`… are not. */
export const QWEN2_SPECIAL_TOKENS: readonly string[] = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<|object_ref_start|>",
  "<|object_ref_end|>",
  "<|box_start|>",
  "<|box_end|>",
  "<|quad_start|>",
  "<|quad_end|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|vision_pad|>",
  "<|image_pad|>",
  "<|video_pad|>",
];

/** The keys of a tokenizer's configuration that name a token with a role. */
export const ROLES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/**
 * The tokens that `skipSpecialTokens` drops, by content: those with a role, and `additional_special_tokens`.
 *
 * This list, and not the `special` flag of an added token, is what upstream's slow tokenizer goes by (transformers 4.48
 * `all_special_tokens`; it reads special_tokens_map.json only where tokenizer_config.json has no `added_tokens_decoder`). With the
 * published configuration `<box>`, `</ref>` and `<img>` are flagged but not listed, and do stay in the answer: see the goldens
 * of tiny-vit6b and tiny-qwen-tied. Undefined when neither file has the list: then the flags decide.
 */
export function listedSpecialTokens(config: Record<string, unknown>, map: Record<string, unknown>): ReadonlySet<string> | undefined {
  const source = config.added_tokens_decoder === undefined ? { ...config, ...map } : config;
  const additional = source.additional_special_tokens;
  if (!Array.isArray(additional)) return undefined;
  const names = [...additional, ...ROLES.map((role) => source[role])].map(contentOf);
  return new Set(names.filter((name) => name !== undefined));
}

/** A token stands in these files as a string, or as an object with its `content`; a role that is not filled is null. */
export function contentOf(token: unknown): string | undefined {
  const content = (token as { content?: unknown } | null | undefined)?.content ?? token;
  return typeof content === "string" ? content : undefined;
}
