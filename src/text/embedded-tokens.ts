import { addedTokens } from "./slow-files.ts";
import type { AddedToken } from "./special-tokens.ts";

type Json = Record<string, unknown>;

/** Tokens that no prompt of transformers' processor has: it puts frames in the place of `<video>`. */
const NEVER_EMBEDDED = ["<video>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"];

/**
 * The added tokens of a checkpoint of transformers' layout. The converter of transformers adds `<video>` behind the embedding's last row:
 * nothing can stand for it, typed it is text.
 */
export const embeddedTokens = (json: Json, config: Json, rows = Number.POSITIVE_INFINITY): unknown[] =>
  withOthers(json, config).filter((token) => {
    const { content, id } = (token ?? {}) as Partial<AddedToken>;
    return !(typeof id === "number" && id >= rows && NEVER_EMBEDDED.includes(content!));
  });

/** Added tokens, and those that only tokenizer_config.json has: transformers adds them. */
function withOthers({ added_tokens: own, model }: Json, config: Json): unknown[] {
  const vocab = ((model as Json | undefined)?.vocab ?? {}) as Json;
  const known = new Set((own as (AddedToken | null)[]).map((token) => token?.content));
  return [
    ...(own as unknown[]),
    ...addedTokens(undefined, config).filter(({ content }) => !known.has(content) && !Object.hasOwn(vocab, content)),
  ];
}
