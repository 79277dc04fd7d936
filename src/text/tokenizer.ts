import { badWeights, late } from "../errors.ts";
import { decodeText, type ReadFile, readJson } from "../json.ts";
import { described, quoted } from "../options.ts";
import { checkTokenizerJson, type OtherIds, REFETCH } from "./check-json.ts";
import { encoderOf } from "./encoder.ts";
import { partsEncoder } from "./parts-encoder.ts";
import { type Joining, type Piece, type PieceJoiner, pieceJoiner, pieceReader } from "./pieces.ts";
import type { Prepare } from "./sentence-piece-json.ts";
import { type AddedToken, listedSpecialTokens } from "./special-tokens.ts";
import type { PromptPart } from "./template.ts";

/** Text to token ids and back, as the tokenizer of a checkpoint does it. */
export interface Tokenizer {
  /** Special tokens in the text count as such. A BOS is put in front only where the checkpoint's post-processor says so: Qwen2 has none. */
  encode(text: string): number[];
  /** A prompt's ids: a structural token is one where the template has put it; typed into a text it is encoded like other characters. */
  encodeParts(parts: readonly PromptPart[]): number[];
  /** A number of tokens that the text has at least, found in a fraction of the time that encoding takes. */
  atLeast(text: string): Promise<number>;
  /**
   * Ids above the vocabulary (rows that pad the head) give nothing; bytes that are not UTF-8 give U+FFFD.
   *
   * @example
   * ```ts
   * const text = (await tokenizer("OpenGVLab/InternVL2_5-1B")).decode([1, 2, 3], { skipSpecialTokens: true });
   * ```
   */
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
  /** What one token adds to a text. */
  piece(id: number): Piece;
  /** Joins such pieces to a text: as upstream does it, or (`exact`) to what they stand for, without a first space dropped or spaces tidied up. */
  joiner(exact?: boolean): PieceJoiner;
  /** The id of a token, by its text as the vocabulary has it. */
  idOf(token: string): number | undefined;
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Whether `skipSpecialTokens` drops it. */
  isSpecial(id: number): boolean;
}

type Json = Record<string, unknown>;

/**
 * The tokenizer of a checkpoint: from tokenizer.json, from vocab.json + merges.txt + added_tokens.json (Qwen2's slow form), or from
 * tokenizer.model (SentencePiece).
 * @param rows of the model's embedding: ids beyond them are refused.
 * @param layout which class upstream takes: OpenGVLab's code the slow ones, which read tokenizer.model before tokenizer.json and go by lists
 * of special tokens; transformers' own model the fast ones, which go by the tokens' flags.
 * @throws EngineError `bad-weights` when files are missing, broken, contradict each other, or are of a kind that is not supported.
 */
export async function loadTokenizer(read: ReadFile, rows?: number, layout: "original" | "huggingface" = "original"): Promise<Tokenizer> {
  return tokenizerOf(await readTokenizer(read, rows, layout));
}

/** What `loadTokenizer` makes a tokenizer of. @throws EngineError as that */
export async function readTokenizer(
  read: ReadFile,
  rows?: number,
  layout: "original" | "huggingface" = "original",
): Promise<TokenizerParts> {
  const slow = layout === "original";
  const [fast, config = {}, map = {}, added] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].map((name) => readJson(read, name)),
  );
  const listed = slow ? listedSpecialTokens(config, map) : undefined;
  const pieces = (slow || fast === undefined) && config.tokenizer_class !== "Qwen2Tokenizer"; // whose class does not read them: a request less
  const sentencePiece = pieces ? await read("tokenizer.model") : undefined;
  if (sentencePiece !== undefined) {
    const { tokenizerJsonFromSentencePiece } = await late("what reads SentencePiece's tokenizers", import("./sentence-piece-json.ts")); // most pages never need it
    const files = { model: sentencePiece, added, config: { ...map, ...config } };
    const { json, added: tokens, cleansUp, dummyPrefix, silent, prepare } = tokenizerJsonFromSentencePiece(files, rows);
    const joining: Joining = { broken: "bytes", dropsFirstSpace: dummyPrefix, cleaning: await cleaningIf(cleansUp) };
    return { json, file: "tokenizer.model", tokens, listed, silent, prepare, joining };
  }
  const others = otherIds(config, added);
  let [json, file] = [fast, "tokenizer.json"];
  if (json === undefined) {
    const [vocab, merges] = await Promise.all([readJson(read, "vocab.json"), read("merges.txt")]);
    const { missingFiles, tokenizerJsonFromSlowFiles } = await late("what reads vocab.json and merges.txt", import("./slow-files.ts"));
    if (vocab === undefined || merges === undefined) throw missingFiles(vocab !== undefined, merges !== undefined);
    json = tokenizerJsonFromSlowFiles({ vocab, merges: decodeText("merges.txt", merges), added, config }) as Json;
    file = "vocab.json";
  }
  if (!slow && Array.isArray(json.added_tokens)) {
    const { embeddedTokens } = await late("what reads tokens of transformers' layout", import("./embedded-tokens.ts"));
    json = { ...json, added_tokens: embeddedTokens(json, config, rows) };
  }
  const tokens = checkTokenizerJson(json, { file, rows, others });
  const { broken, dropsFirstSpace } = pieceReader(json.decoder);
  const joining: Joining = { broken, dropsFirstSpace, cleaning: await cleaningIf(!slow && config.clean_up_tokenization_spaces === true) };
  return { json, file, tokens, listed, prepare: preparing(json), joining };
}

/**
 * Upstream's Qwen2 puts the whole text in NFC before it looks for added tokens, the encoder does it between them. It differs where a
 * combining mark after a token joins the token's last character.
 */
const preparing =
  (json: Json): Prepare =>
  () =>
    isNfc(json) ? (text) => text.normalize("NFC") : (text) => text;

const isNfc = (json: Json): boolean => (json.normalizer as Json | null | undefined)?.type === "NFC";

const cleaningIf = async (wanted: boolean): Promise<Joining["cleaning"]> =>
  wanted ? (await late("what cleans answers up", import("./cleanup.ts"))).cleaner : undefined;

/** The ids of added tokens by tokenizer_config.json and added_tokens.json; what is not an id there is not tokenizer.json's fault. */
function otherIds(config: Json, added: Json = {}): OtherIds {
  const ids = new Map<string, { id: number; file: string }>();
  for (const [content, id] of Object.entries(added)) if (typeof id === "number") ids.set(content, { id, file: "added_tokens.json" });
  const decoder = config.added_tokens_decoder;
  for (const [id, token] of Object.entries(typeof decoder === "object" && decoder !== null ? decoder : {})) {
    const content = (token as Partial<AddedToken> | null)?.content;
    if (typeof content === "string") ids.set(content, { id: Number(id), file: "tokenizer_config.json" });
  }
  return ids;
}

/** A tokenizer's description, and what it leaves to us. */
export interface TokenizerParts {
  /** As tokenizer.json has it. */
  json: Json;
  /** The file that errors name. */
  file: string;
  tokens: readonly AddedToken[];
  listed: ReadonlySet<string> | undefined;
  /** Tokens that stand for no text. */
  silent?: ReadonlySet<number>;
  prepare: Prepare;
  joining: Joining;
}

function tokenizerOf({ json, file, tokens, listed, silent, prepare, joining }: TokenizerParts): Tokenizer {
  const added = new Map(tokens.map((token) => [token.id, token]));
  const reader = pieceReader(json.decoder);
  const encoder = made(file, () => encoderOf(json));
  const flagged = () => tokens.filter((token) => token.special).map((token) => token.id);
  const special = new Set<number | undefined>(listed === undefined ? flagged() : [...listed].map((token) => encoder.idOf(token)));
  const prepared = prepare(tokens);
  const nfc = isNfc(json);

  const piece = (id: number) => added.get(id)?.content ?? reader.read((!silent?.has(id) && encoder.tokenOf(id)) || "");
  const vocabSize = encoder.model.tokens.length;
  let parts: ReturnType<typeof partsEncoder> | undefined;
  let atLeast: ((text: string) => number) | undefined; // made for the first text that is long

  const tokenizer: Tokenizer = {
    vocabSize,
    encode: (text) => encoder.encode(prepared(text)),
    encodeParts: (prompt) => (parts ??= partsEncoder(json, encoder, prepare))(prompt),
    async atLeast(text) {
      const { tokenBound } = await late("what measures long texts", import("./bound.ts"));
      atLeast ??= tokenBound(Array.from({ length: vocabSize }, (_, id) => piece(id)));
      return atLeast(nfc ? text.normalize("NFC") : reader.byteLevel ? text : text.replaceAll("▁", " ")); // to SentencePiece the two are one
    },
    // Not @huggingface/tokenizers' way: it drops U+FEFF after byte fallback, and tidies spaces before punctuation unless told not to.
    decode(ids, { skipSpecialTokens = false } = {}) {
      const joiner = tokenizer.joiner();
      let text = "";
      for (const id of Array.from(ids)) if (!(skipSpecialTokens && special.has(id))) text += joiner.add(piece(id));
      return text + joiner.end();
    },
    joiner: (exact) => pieceJoiner(exact ? { ...joining, dropsFirstSpace: false, cleaning: undefined } : joining),
    piece,
    idOf: (token) => encoder.idOf(token),
    isSpecial: (id) => special.has(id),
  };
  tryOut(tokenizer, file, reader.byteLevel);
  return tokenizer;
}

/** Runs what the encoder does with parts that nothing here has looked at: what it throws is the file's fault. */
function made<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const why = described((cause as Error).message).slice(1, -1);
    throw badWeights(`${file} is not a tokenizer: ${why}`, REFETCH, cause);
  }
}

const SAMPLE = "Hello, world 42!\n\t“Grüße” 你好 🙂";

/** Encodes a text: a byte-level tokenizer gives every text back, whatever its vocabulary; and no token is without an id. */
function tryOut(tokenizer: Tokenizer, file: string, byteLevel: boolean): void {
  const [ids, text] = made(file, () => {
    const encoded = tokenizer.encode(SAMPLE);
    return [encoded, tokenizer.decode(encoded)];
  });
  if (ids.every((id) => Number.isSafeInteger(id) && id >= 0) && (!byteLevel || text.endsWith(SAMPLE))) return;
  throw badWeights(`${file} is not a tokenizer: it makes ${quoted(text)} of ${quoted(SAMPLE)}`, REFETCH);
}

/** Tokens that a prompt is built of. */
const STRUCTURE = ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"] as const;

/**
 * The ids of the tokens that prompts and answers hang on; `said` is what the configuration says of them.
 * @throws EngineError `bad-weights` naming all that the tokenizer does not have, or does not find in a text
 */
export function structuralIds(
  tokenizer: Tokenizer,
  said: { stopIds?: readonly number[] | undefined; imageTokenId?: number | undefined } = {},
): { imageContextId: number; stopIds: ReadonlySet<number> } {
  const idOf = (token: string): number | undefined => {
    const id = tokenizer.idOf(token);
    return id !== undefined && tokenizer.encode(token).at(-1) === id ? id : undefined; // a piece of the vocabulary is not looked for
  };
  const hint = "Use the tokenizer files of an InternVL checkpoint, not its language model's.";
  const missing = STRUCTURE.filter((token) => idOf(token) === undefined);
  if (missing.length > 0) throw badWeights(`the tokenizer has no ${missing.length > 1 ? "tokens" : "token"} ${missing.join(", ")}`, hint);
  const imageContextId = idOf("<IMG_CONTEXT>")!;
  if ((said.imageTokenId ?? imageContextId) !== imageContextId) {
    const problem = `config.json: image_token_id is ${said.imageTokenId}, the tokenizer's <IMG_CONTEXT> is ${imageContextId}`;
    throw badWeights(problem, hint);
  }
  return { imageContextId, stopIds: new Set(said.stopIds ?? [idOf("<|im_end|>")!]) };
}
