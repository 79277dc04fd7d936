import { type Encoder, encoderOf } from "./encoder.ts";
import type { Prepare } from "./sentence-piece-json.ts";
import type { AddedToken } from "./special-tokens.ts";
import { type PromptPart, STRUCTURAL_TOKENS } from "./template.ts";

/**
 * Encodes a prompt so that nobody can forge its structure by typing. The structural tokens get other names here, with random parts that
 * nobody can guess; the template's are written with these, so that what was typed finds no token of its name and is text. All else, from
 * the splitting at tokens to the BOS, stays the encoder's own affair: without typed tokens the ids are those of the whole prompt's text.
 *
 * @param prepare what upstream does to a whole text before it looks for tokens
 */
export function partsEncoder(json: Record<string, unknown>, whole: Encoder, prepare: Prepare): (parts: readonly PromptPart[]) => number[] {
  const [nonce] = crypto.getRandomValues(new Uint32Array(1));
  // U+FDD0 and U+FDD1 are not characters: no text holds them, and no normalization changes them.
  const names = new Map(STRUCTURAL_TOKENS.map((token, i) => [token, `\ufdd0${nonce!.toString(36)}.${i}\ufdd1`]));
  const tokens = json.added_tokens as AddedToken[];
  // Nor by another name: InternLM2's `<|im_end|>` has the id of the piece [UNUSED_TOKEN_145].
  const structural = new Set(tokens.flatMap(({ content, id }) => (names.has(content) ? [id] : [])));
  const added = tokens.flatMap((token) => {
    const name = names.get(token.content);
    return name === undefined && structural.has(token.id) ? [] : [{ ...token, content: name ?? token.content }];
  });
  const encoder = encoderOf({ ...json, added_tokens: added }, whole.model); // not read twice: it holds tens of megabytes
  const prepared = prepare(added);
  return (parts) => {
    const texts = parts.map((part) => (typeof part === "string" ? part : names.get(part.token)!.repeat(part.times ?? 1)));
    return encoder.encode(prepared(texts.join("")));
  };
}
