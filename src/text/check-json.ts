import { badWeights } from "../errors.ts";
import { described, isRecord, quoted } from "../options.ts";
import { GPT2_WORDS, LLAMA3_WORDS, QWEN2_WORDS } from "./patterns.ts";
import type { AddedToken } from "./special-tokens.ts";

type Json = Record<string, unknown>;

/** The hint for a tokenizer's file that is damaged. */
export const REFETCH = "The file is damaged or incomplete: fetch it again.";
const OTHER_MODEL = "Use the tokenizer files of this very checkpoint.";

const refusal =
  (file: string, otherwise = REFETCH) =>
  (problem: string, hint = otherwise) =>
    badWeights(`${file} is not a tokenizer: ${problem}`, hint);

/** Ids of tokens that other files give, by the token's text. */
export type OtherIds = ReadonlyMap<string, { id: number; file: string }>;

/** What a tokenizer's file is held against. */
export interface Expected {
  /** How messages call the file. */
  file: string;
  /** Rows of the model's embedding: every id must be below. */
  rows?: number | undefined;
  others: OtherIds;
}

/** Words of other tokenizers of this kind. Any other expression could take for ever on a text that somebody has thought out. */
const PATTERNS: readonly string[] = [QWEN2_WORDS, GPT2_WORDS, LLAMA3_WORDS, " {2,}", "\\s+"];

/** Refuses regular expressions that are not known, wherever a part of the tokenizer has one. */
function checkPatterns(part: unknown, file: string): void {
  if (typeof part !== "object" || part === null) return;
  for (const [key, value] of Object.entries(part)) {
    if (key === "Regex" && !PATTERNS.includes(value as string)) {
      const hint = "Known are those of Qwen2, Llama 3 and GPT-2.";
      throw badWeights(`${file} splits text by an expression that is not known: ${described(value)}`, hint);
    }
    checkPatterns(value, file);
  }
}

/** The kinds of parts that tokenizers of the family have. What others do to a text is not known here; decoders are read by pieces.ts. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  normalizer: ["NFC", "Prepend", "Replace"],
  pre_tokenizer: ["Split", "ByteLevel", "Metaspace"],
  post_processor: ["ByteLevel", "TemplateProcessing"],
  decoder: ["ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"],
};

/** The types of a part, and of the parts of a sequence. */
export function typesOf(part: unknown): unknown[] {
  if (!isRecord(part)) return [];
  if (part.type !== "Sequence") return [part.type];
  const parts = part.normalizers ?? part.pretokenizers ?? part.processors ?? part.decoders;
  return Array.isArray(parts) ? parts.flatMap(typesOf) : [part.type];
}

/** Checks the vocabulary's ids. Gives the text of each. */
function checkVocabulary(vocab: unknown, { file, rows }: Expected): Map<number, string> {
  const bad = refusal(file);
  if (!isRecord(vocab)) throw bad(`its vocabulary is ${vocab === undefined ? "missing" : described(vocab)}, needs to be an object`);
  const tokens = Object.keys(vocab);
  if (tokens.length === 0) throw bad("its vocabulary is empty");
  const texts = new Map<number, string>();
  for (const token of tokens) {
    const id = vocab[token];
    checkId(file, token, id, rows);
    texts.set(id, token);
  }
  if (texts.size < tokens.length) {
    const second = tokens.find((token) => texts.get(vocab[token] as number) !== token)!;
    const id = vocab[second] as number;
    throw bad(`${quoted(second)} and ${quoted(texts.get(id)!)} both have the id ${id}`);
  }
  return texts;
}

/** @throws EngineError bad-weights for an id that is not a row of the embedding */
export function checkId(file: string, token: string, id: unknown, rows?: number): asserts id is number {
  const isId = Number.isSafeInteger(id) && (id as number) >= 0;
  if (isId && !((id as number) >= rows!)) return; // rows may not be known
  const needs = isId ? `the model has ids up to ${rows! - 1}` : "it must be an integer from 0";
  throw badWeights(`${file} gives ${quoted(token)} the id ${described(id)}, ${needs}`, isId ? OTHER_MODEL : REFETCH);
}

/** The token that a merge makes; `undefined` where it is not a merge of two. */
function madeBy(merge: unknown): string | undefined {
  if (typeof merge === "string") {
    const space = merge.indexOf(" ");
    return space > 0 && space < merge.length - 1 ? merge.slice(0, space) + merge.slice(space + 1) : undefined;
  }
  if (!Array.isArray(merge) || merge.length !== 2 || !merge.every((each) => typeof each === "string" && each !== "")) return undefined;
  return (merge[0] as string) + (merge[1] as string);
}

function checkMerges(merges: unknown, vocab: Json, file: string): void {
  if (!Array.isArray(merges)) throw refusal(file)(`its merges are ${described(merges)}, needs a list`);
  for (let i = 0; i < merges.length; i++) {
    const token = madeBy(merges[i]);
    // Without this check text would silently lose the characters of such a token.
    if (token !== undefined && Object.hasOwn(vocab, token)) continue;
    const what =
      token === undefined ? `is ${described(merges[i])}, not two tokens` : `makes ${quoted(token)}, which its vocabulary does not have`;
    throw badWeights(`${file}: merge ${i + 1} ${what}`, REFETCH);
  }
}

/** Tokens beside the vocabulary: each with an id of its own, and the same one in every file. */
function checkAdded(added: unknown, texts: Map<number, string>, vocab: Json, expected: Expected): AddedToken[] {
  const { file, rows, others } = expected;
  const bad = refusal(file);
  if (!Array.isArray(added)) throw bad(`added_tokens is ${added === undefined ? "missing" : described(added)}, needs to be a list`);
  const ids = new Map<string, number>();
  const contents = new Map<number, string>();
  for (const token of added as unknown[]) {
    if (!isRecord(token) || typeof token.content !== "string" || token.content === "") {
      throw bad(`added_tokens holds ${isRecord(token) ? `a token whose content is ${described(token.content)}` : described(token)}`);
    }
    const { content, id } = token;
    checkId(file, content, id, rows);
    const clash = ids.get(content) ?? (Object.hasOwn(vocab, content) ? (vocab[content] as number) : id);
    if (clash !== id) throw bad(`${quoted(content)} has the id ${id}, and ${clash} too`);
    const elsewhere = others.get(content);
    if (elsewhere && elsewhere.id !== id) {
      throw bad(`${quoted(content)} has the id ${id}, and in ${elsewhere.file} ${elsewhere.id}`, OTHER_MODEL);
    }
    // InternLM2 puts added tokens in the place of unused pieces; then the other files say so too.
    const there = contents.get(id) ?? (elsewhere ? undefined : texts.get(id));
    if (there !== undefined && there !== content) throw bad(`${quoted(content)} has the id ${id}, which is that of ${quoted(there)}`);
    ids.set(content, id);
    contents.set(id, content);
  }
  return added as AddedToken[];
}

/**
 * Checks the parts of a tokenizer.json that the encoder takes as they are: ids that are rows of the model's embedding and each one token's,
 * merges that make tokens, added tokens where other files have them too, no expression that could take for ever.
 *
 * @throws EngineError bad-weights
 */
export function checkTokenizerJson(json: Json, expected: Expected): AddedToken[] {
  const { file } = expected;
  const [bad, strange] = [refusal(file), refusal(file, OTHER_MODEL)];
  const { model } = json;
  if (!isRecord(model)) throw bad(`its model is ${model === undefined ? "missing" : described(model)}, needs to be an object`);
  if (model.type !== undefined && model.type !== "BPE") {
    throw strange(`its model is of type ${described(model.type)}, only BPE is supported`);
  }
  const texts = checkVocabulary(model.vocab, expected);
  const vocab = model.vocab as Json;
  checkMerges(model.merges, vocab, file);
  const added = checkAdded(json.added_tokens, texts, vocab, expected);
  for (const [part, kinds] of Object.entries(KINDS)) {
    const value = json[part];
    if (value !== undefined && value !== null && !isRecord(value)) throw bad(`its ${part} is ${described(value)}, needs to be an object`);
    checkPatterns(value, file);
    const others = typesOf(value).filter((type) => !kinds.includes(type as string));
    if (others.length > 0) throw strange(`its ${part} is of type ${described(others[0])}, supported: ${kinds.join(", ")}`);
  }
  for (const key of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[key]) throw strange(`its model has ${key} ${described(model[key])}, which is not supported`);
  }
  return added;
}
