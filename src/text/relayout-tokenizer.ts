import { badWeights } from "../errors.ts";
import { pieceReader } from "./pieces.ts";
import { type AddedToken, contentOf, ROLES } from "./special-tokens.ts";
import type { TokenizerParts } from "./tokenizer.ts";

type Json = Record<string, unknown>;

/** Whose names transformers' processor asks the tokenizer for. */
const PICTURES = { start_image_token: "<img>", end_image_token: "</img>", context_image_token: "<IMG_CONTEXT>", video_token: "<video>" };

/** What only one layout's tokenizer_config.json has. */
const OWN = [
  "auto_map",
  "chat_template",
  "extra_special_tokens",
  "model_specific_special_tokens",
  "backend",
  "is_local",
  "processor_class",
];

const flags = { lstrip: false, rstrip: false, single_word: false, normalized: false };

/** The added tokens in the order of their ids, special where an answer is without them. */
function addedOf({ tokens, listed }: TokenizerParts): AddedToken[] {
  const byId = new Map(tokens.map((token) => [token.id, token]));
  const all = [...byId.values()].sort((a, b) => a.id - b.id);
  return all.map((token) => ({ ...flags, ...token, special: listed ? listed.has(token.content) : token.special }));
}

/** tokenizer_config.json: what the other had, and the added tokens. */
function configOf(config: Json, added: readonly AddedToken[], own: Json): Json {
  const kept = Object.entries(config).filter(([key]) => !OWN.includes(key) && !(key in PICTURES));
  const roles = ROLES.map((role) => contentOf(config[role]));
  const special = added.filter(({ content, special }) => special && !roles.includes(content));
  return {
    ...Object.fromEntries(kept),
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
    additional_special_tokens: special.map(({ content }) => content),
    ...own,
  };
}

/** SentencePiece's vocabulary as the tokenizers library wants it: an added token in the place of the piece whose id it has taken. */
function vocabularyOf(vocab: Record<string, number>, added: readonly AddedToken[]): Record<string, number> {
  const taken = new Map(added.map(({ id, content }) => [id, content]));
  return Object.fromEntries(Object.entries(vocab).map(([text, id]) => [taken.get(id) ?? text, id]));
}

/**
 * The tokenizer's files as transformers' own model takes them.
 *
 * @param config tokenizer_config.json of the other layout
 * @throws EngineError bad-weights for a tokenizer.model with a dummy prefix
 */
export function huggingFaceTokenizer(parts: TokenizerParts, config: Json): Record<string, Json> {
  const { json, file, joining } = parts;
  const added = addedOf(parts);
  const model = json.model as Json & { vocab: Record<string, number> };
  const next = 1 + Math.max(...Object.values(model.vocab), ...added.map(({ id }) => id));
  if (!added.some(({ content }) => content === "<video>")) added.push({ id: next, content: "<video>", ...flags, special: true });
  const sentencePiece = file === "tokenizer.model";
  if (sentencePiece && joining.dropsFirstSpace) {
    const hint = "the published InternLM2 models have none: take their tokenizer.model";
    throw badWeights("tokenizer.model: add_dummy_prefix has no counterpart in Hugging Face's layout", hint);
  }
  const spaces = { pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "never", split: false } };
  return {
    "tokenizer.json": {
      ...{ version: "1.0", truncation: null, padding: null },
      ...json,
      ...(sentencePiece && { ...spaces, model: { ...model, vocab: vocabularyOf(model.vocab, added) } }),
      added_tokens: added,
    },
    "tokenizer_config.json": configOf(config, added, {
      clean_up_tokenization_spaces: joining.cleaning !== undefined,
      extra_special_tokens: PICTURES,
      processor_class: "InternVLProcessor",
      tokenizer_class: pieceReader(json.decoder).byteLevel ? "Qwen2Tokenizer" : "PreTrainedTokenizerFast",
    }),
  };
}

/** The tokenizer's files as upstream's classes take them: the slow ones of Qwen2 and, where there is a tokenizer.model, InternLM2. */
export function originalTokenizer(parts: TokenizerParts, config: Json, hasModel: boolean): Record<string, Json | string> {
  const { json } = parts;
  const added = addedOf(parts);
  if (hasModel) {
    const own = { auto_map: { AutoTokenizer: ["tokenization_internlm2.InternLM2Tokenizer", null] }, tokenizer_class: "InternLM2Tokenizer" };
    return { "tokenizer_config.json": configOf(config, added, own) };
  }
  const { vocab, merges } = json.model as { vocab: Json; merges: (string | [string, string])[] };
  const { byteLevel } = pieceReader(json.decoder);
  const own = { tokenizer_class: byteLevel ? "Qwen2Tokenizer" : "PreTrainedTokenizerFast" };
  const lines = merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));
  return {
    "tokenizer.json": { ...json, added_tokens: added },
    "tokenizer_config.json": configOf(config, added, own),
    ...(byteLevel && {
      "vocab.json": vocab,
      "merges.txt": `${["#version: 0.2", ...lines].join("\n")}\n`,
      "added_tokens.json": Object.fromEntries(added.filter(({ content }) => !(content in vocab)).map(({ content, id }) => [content, id])),
    }),
  };
}
