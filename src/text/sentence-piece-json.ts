import { badWeights } from "../errors.ts";
import { described, quoted } from "../options.ts";
import { checkId } from "./check-json.ts";
import { readSentencePiece, type SentencePieceModel } from "./sentence-piece.ts";
import { addedTokens } from "./slow-files.ts";
import { type AddedToken, listedSpecialTokens } from "./special-tokens.ts";

type Json = Record<string, unknown>;

/** Prepares a whole text in which some tokens will be looked for. */
export type Prepare = (added: readonly AddedToken[]) => (text: string) => string;

/** What `tokenizer.model` and the files beside it say. */
export interface SentencePieceFiles {
  model: Uint8Array;
  added: Json | undefined; // added_tokens.json
  config: Json; // tokenizer_config.json, or {}
}

/** A tokenizer of SentencePiece's kind, as the encoder takes it. */
export interface SentencePieceTokenizer {
  json: Json;
  added: readonly AddedToken[];
  /** Whether the class tidies up answers (cleanup.ts). */
  cleansUp: boolean;
  dummyPrefix: boolean;
  /** Control pieces without a role: they stand for no text. */
  silent: ReadonlySet<number>;
  /** What prepares a text, given the tokens that are looked for in it. */
  prepare: Prepare;
}

const wrong = (problem: string, hint: string) => badWeights(`tokenizer_config.json: ${problem}`, hint);

/** InternLM2's class tidies up every answer; Llama's where its configuration says so. */
function readClass(config: Json): boolean {
  const name = config.tokenizer_class ?? "InternLM2Tokenizer";
  const hint = "Take the tokenizer files of InternVL2_5-2B, -8B or -26B, or a model whose folder has tokenizer.json.";
  if (name !== "InternLM2Tokenizer" && name !== "LlamaTokenizer") {
    throw wrong(`tokenizer_class is ${described(name)}, needs InternLM2Tokenizer or LlamaTokenizer to go with tokenizer.model`, hint);
  }
  if (config.add_eos_token === true) throw wrong("add_eos_token is true: prompts that end with it are not supported", hint);
  if (name === "InternLM2Tokenizer") return true;
  if (config.legacy === false) throw wrong("legacy is false, which is read from tokenizer.json only", hint);
  return config.clean_up_tokenization_spaces === true;
}

/** The token that a role has; by default SentencePiece's own. */
function roleOf(config: Json, role: string, usual: string): string {
  const given = config[role] ?? usual;
  const content = typeof given === "object" ? (given as Json).content : given;
  if (typeof content === "string") return content;
  throw wrong(`${role} is ${described(given)}, needs a token`, "Take the tokenizer files of this very checkpoint.");
}

/**
 * Every way to make a piece of two, best first: of the highest score, and among those of one piece by the parts' ids. The encoder takes the
 * first that is possible in a text, leftmost first, as SentencePiece does.
 */
function mergesOf(pieces: SentencePieceModel["pieces"]): [string, string][] {
  const ids = new Map(pieces.flatMap(({ text, kind }, id) => (kind === "normal" ? [[text, id] as const] : [])));
  const scored: { pair: [string, string]; score: number }[] = [];
  for (const { text, score, kind } of pieces) {
    if (kind !== "normal") continue;
    const own: [string, string][] = [];
    for (let at = 1; at < text.length; at++) {
      const [left, right] = [text.slice(0, at), text.slice(at)];
      if (ids.has(left) && ids.has(right)) own.push([left, right]);
    }
    own.sort(([l, r], [l2, r2]) => ids.get(l)! - ids.get(l2)! || ids.get(r)! - ids.get(r2)!);
    for (const pair of own) scored.push({ pair, score });
  }
  return scored.sort((a, b) => b.score - a.score).map(({ pair }) => pair);
}

/** The control pieces that a text may spell; SentencePiece itself makes none of a text, and writes none into one. */
function rolesOf({ config }: SentencePieceFiles): ReadonlySet<string> {
  const others = Array.isArray(config.additional_special_tokens) ? config.additional_special_tokens : [];
  const usual = { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" };
  return listedSpecialTokens({ ...usual, ...config, additional_special_tokens: others, added_tokens_decoder: {} }, {})!;
}

/** The added tokens: those of the other files, and control pieces with a role and user-defined ones, where no other has taken their place. */
function addedOf({ pieces }: SentencePieceModel, files: SentencePieceFiles): AddedToken[] {
  const { added, config } = files;
  const own = addedTokens(added, config);
  const odd = own.find(({ lstrip, rstrip, single_word }) => lstrip || rstrip || single_word);
  if (odd)
    throw wrong(`${quoted(odd.content)} has lstrip, rstrip or single_word, which are not supported`, "Take the published tokenizer files.");
  const ids = new Map(pieces.map(({ text }, id) => [text, id]));
  for (const { content, id } of own) {
    const there = ids.get(content);
    if (there !== undefined && there !== id) {
      throw wrong(`${quoted(content)} has the id ${id}, and in tokenizer.model ${there}`, "Take all tokenizer files of one checkpoint.");
    }
    if (pieces[id]?.kind === "byte")
      throw wrong(`${quoted(content)} takes the place of a byte, ${id}`, "Take the published tokenizer files.");
  }
  const known = new Set(own.map(({ content }) => content));
  const roles = rolesOf(files);
  const plain = { lstrip: false, rstrip: false, single_word: false, normalized: false };
  const others = pieces.flatMap(({ text, kind }, id): AddedToken[] => {
    if (known.has(text) || !(kind === "user-defined" || ((kind === "control" || kind === "unknown") && roles.has(text)))) return [];
    return [{ id, content: text, special: kind !== "user-defined", ...plain }];
  });
  return [...others, ...own]; // the last of an id says what it stands for
}

/**
 * The tokenizer.json that says what a `tokenizer.model` and its added tokens say, but for spaces and a text's first one: those are put in
 * before (`prepareStretches`).
 *
 * @throws EngineError bad-weights for a model of another kind, settings that are not supported, files of several checkpoints
 */
export function tokenizerJsonFromSentencePiece(files: SentencePieceFiles, rows?: number): SentencePieceTokenizer {
  const cleansUp = readClass(files.config);
  const model = readSentencePiece(files.model);
  const { pieces, unknownId, dummyPrefix } = model;
  if (rows !== undefined && pieces.length > rows) {
    const hint = "Take all tokenizer files of one checkpoint.";
    throw badWeights(`tokenizer.model has ${pieces.length} pieces, the model has ids up to ${rows - 1}`, hint);
  }
  const added = addedOf(model, files);
  for (const { content, id } of added) checkId("tokenizer_config.json", content, id, rows);
  const bos = roleOf(files.config, "bos_token", "<s>");
  const bosId = added.find(({ content }) => content === bos)?.id;
  if (bosId === undefined) throw wrong(`bos_token is ${quoted(bos)}, which is not a token`, "Take all tokenizer files of one checkpoint.");
  const start = files.config.add_bos_token === false ? [] : [{ SpecialToken: { id: bos, type_id: 0 } }];
  const json = {
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [...start, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { [bos]: { id: bos, ids: [bosId], tokens: [bos] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [{ type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }],
    },
    model: {
      type: "BPE",
      unk_token: pieces[unknownId]!.text,
      byte_fallback: true,
      fuse_unk: true,
      vocab: Object.fromEntries(pieces.map(({ text }, id) => [text, id])),
      merges: mergesOf(pieces),
    },
  };
  const userDefined = new Set(pieces.flatMap(({ text, kind }) => (kind === "user-defined" ? [text] : [])));
  const tokens = new Set(added.map(({ id }) => id));
  const silent = new Set(pieces.flatMap(({ kind }, id) => (kind === "control" && !tokens.has(id) ? [id] : [])));
  return { json, added, cleansUp, dummyPrefix, silent, prepare: (tokens) => prepareStretches(tokens, userDefined, dummyPrefix) };
}

/**
 * Writes spaces as SentencePiece does, and a first one before every stretch between tokens where the model has a dummy prefix. Pieces that
 * the model's trainer has defined do not end a stretch, added tokens do.
 */
function prepareStretches(added: readonly AddedToken[], userDefined: ReadonlySet<string>, dummyPrefix: boolean): (text: string) => string {
  const ends = added.map(({ content }) => content).filter((content) => !userDefined.has(content));
  const escaped = ends.sort((a, b) => b.length - a.length).map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const cut = new RegExp(`(${escaped.join("|")})`);
  const prefix = dummyPrefix ? "▁" : "";
  return (text) =>
    text
      .split(cut)
      .map((stretch, i) => (i % 2 === 1 || stretch === "" ? stretch : prefix + stretch.replaceAll(" ", "▁")))
      .join("");
}
