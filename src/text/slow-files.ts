import { badWeights, type EngineError } from "../errors.ts";
import { described, quoted } from "../options.ts";
import { checkId } from "./check-json.ts";
import { QWEN2_WORDS } from "./patterns.ts";
import { type AddedToken, QWEN2_SPECIAL_TOKENS } from "./special-tokens.ts";

const REFETCH = "The file is damaged or from another model: fetch vocab.json, merges.txt and added_tokens.json again, together.";

/** The parsed parts of a slow Qwen2 tokenizer, the form in which InternVL 2.5 is published. */
export interface SlowFiles {
  vocab: Record<string, unknown>; // vocab.json: token → id
  merges: string; // merges.txt: one "left right" a line, best first
  added: Record<string, unknown> | undefined; // added_tokens.json: token → id
  config: Record<string, unknown>; // tokenizer_config.json, or {}
}

/**
 * The tokenizer.json that says what the slow files say: Qwen2's byte-level BPE behind NFC.
 * @throws EngineError `bad-weights` when ids are not ids, a merge is malformed or makes an unknown token, or no added tokens are given.
 */
export function tokenizerJsonFromSlowFiles({ vocab, merges, added, config }: SlowFiles): object {
  for (const [token, id] of Object.entries(vocab)) checkId("vocab.json", token, id);
  const tokens = addedTokens(added, config);
  if (tokens.length === 0) {
    const problem = "vocab.json and merges.txt are here, but no file names <|im_start|>, <img> and the other added tokens";
    const hint = "Put the checkpoint's added_tokens.json, or its tokenizer_config.json with added_tokens_decoder, beside them.";
    throw badWeights(problem, hint);
  }
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const split = { type: "Split", pattern: { Regex: QWEN2_WORDS }, behavior: "Isolated", invert: false };
  return {
    version: "1.0",
    added_tokens: tokens,
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "Sequence", pretokenizers: [split, byteLevel] },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: "BPE",
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      vocab,
      merges: parseMerges(merges, vocab),
    },
  };
}

/** Only a first line can be the version: "# #" and "#v ersion" are merges like any other. */
function parseMerges(text: string, vocab: Record<string, unknown>): [string, string][] {
  const merges: [string, string][] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === "" || (index === 0 && line.startsWith("#version"))) continue;
    const space = line.indexOf(" ");
    const [left, right] = [line.slice(0, space), line.slice(space + 1)];
    const where = `merges.txt, line ${index + 1}`;
    if (space < 1 || right === "" || right.includes(" ")) {
      throw badWeights(`${where}: ${quoted(line)} is not two tokens with one space between`, REFETCH);
    }
    // Without this check text would silently lose the characters of such a token.
    if (!Object.hasOwn(vocab, left + right)) {
      throw badWeights(`${where} makes ${quoted(left + right)}, which vocab.json does not have`, REFETCH);
    }
    merges.push([left, right]);
  }
  return merges;
}

/** From `added_tokens_decoder` of tokenizer_config.json, then from added_tokens.json what that lacks. */
export function addedTokens(added: Record<string, unknown> | undefined, config: Record<string, unknown>): AddedToken[] {
  const tokens = new Map<number, AddedToken>();
  const decoder = (config.added_tokens_decoder ?? {}) as Record<string, AddedToken | null>;
  if (typeof decoder !== "object" || Array.isArray(decoder)) {
    throw badWeights(`tokenizer_config.json: added_tokens_decoder is ${described(decoder)}, needs to be an object`, REFETCH);
  }
  for (const [id, token] of Object.entries(decoder)) {
    if (typeof token?.content !== "string") {
      throw badWeights(`tokenizer_config.json: added_tokens_decoder has no content for id ${quoted(id).slice(1, -1)}`, REFETCH);
    }
    checkId("tokenizer_config.json", token.content, Number(id));
    // Never normalized: the whole text is in NFC before tokens are looked for (see tokenizer.ts).
    tokens.set(Number(id), { ...token, id: Number(id), special: token.special === true, normalized: false });
  }
  for (const [content, id] of Object.entries(added ?? {})) {
    checkId("added_tokens.json", content, id);
    if (!tokens.has(id)) tokens.set(id, { id, content, special: QWEN2_SPECIAL_TOKENS.includes(content), normalized: false });
  }
  return [...tokens.values()];
}

/** The error where one of the files, or all of them, are missing. */
export function missingFiles(vocab: boolean, merges: boolean): EngineError {
  const need = "it needs tokenizer.json, or vocab.json + merges.txt + added_tokens.json, or tokenizer.model";
  if (vocab || merges) {
    const [has, lacks] = vocab ? ["vocab.json", "merges.txt"] : ["merges.txt", "vocab.json"];
    return badWeights(`the checkpoint has ${has} but not ${lacks}: ${need}`, `Put the model's ${lacks} beside it.`);
  }
  const hint = "Copy the model's tokenizer files from its page beside config.json, tokenizer_config.json too.";
  return badWeights(`the checkpoint has no tokenizer files: ${need}`, hint);
}
