import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { EngineError } from "../errors.ts";
import { TokenBound } from "./bound.ts";
import { PartsEncoder } from "./parts-encoder.ts";
import { type Piece, PieceJoiner, pieceReader } from "./pieces.ts";
import { tokenizerJsonFromSlowFiles } from "./slow-files.ts";
import { type AddedToken, listedSpecialTokens } from "./special-tokens.ts";
import type { PromptPart } from "./template.ts";

/** Text to token ids and back, as the tokenizer of a checkpoint does it. */
export interface Tokenizer {
  /** Special tokens in the text count as such. A BOS is put in front only where the checkpoint's post-processor says so: Qwen2 has none. */
  encode(text: string): number[];
  /** A prompt's ids: a structural token is one where the template has put it; typed into a text it is encoded like other characters. */
  encodeParts(parts: readonly PromptPart[]): number[];
  /** A number of tokens that the text has at least, found in a fraction of the time that encoding takes. */
  atLeast(text: string): number;
  /** Ids above the vocabulary (rows that pad the head) give nothing; bytes that are not UTF-8 give U+FFFD. */
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
  /** What one token adds to a text. */
  piece(id: number): Piece;
  idOf(token: string): number | undefined;
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Whether `skipSpecialTokens` drops it. */
  isSpecial(id: number): boolean;
}

/** Reads a file of the checkpoint's folder; undefined when there is none. */
export type ReadFile = (name: string) => Promise<Uint8Array | undefined>;

type Json = Record<string, unknown>;

/**
 * The tokenizer of a checkpoint: from tokenizer.json, or from vocab.json + merges.txt + added_tokens.json (Qwen2's slow form).
 * @throws EngineError `bad-weights` when files are missing, broken, or of a kind that is not supported.
 */
export async function loadTokenizer(read: ReadFile): Promise<Tokenizer> {
  const [fast, config = {}, map = {}] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"].map((name) => readJson(read, name)),
  );
  const listed = listedSpecialTokens(config, map);
  if (fast !== undefined) return fromTokenizerJson(fast, listed, "tokenizer.json");

  const [vocab, merges, added] = await Promise.all([readJson(read, "vocab.json"), read("merges.txt"), readJson(read, "added_tokens.json")]);
  if (vocab === undefined || merges === undefined) throw await missingFiles(read, vocab !== undefined, merges !== undefined);
  const json = tokenizerJsonFromSlowFiles({ vocab, merges: utf8("merges.txt", merges), added, config });
  return fromTokenizerJson(json as Json, listed, "vocab.json");
}

function fromTokenizerJson(json: Json, listed: ReadonlySet<string> | undefined, file: string): Tokenizer {
  let library: HuggingFaceTokenizer;
  try {
    library = new HuggingFaceTokenizer(json, {});
  } catch (cause) {
    throw new EngineError("bad-weights", `${file} is not a tokenizer: ${(cause as Error).message}`, { hint: REFETCH, cause });
  }
  const reader = pieceReader(json.decoder);
  const added = new Map((json.added_tokens as AddedToken[]).map((token) => [token.id, token]));
  const flagged = () => [...added.values()].filter((token) => token.special).map((token) => token.id);
  const special = new Set<number | undefined>(listed === undefined ? flagged() : [...listed].map((token) => library.token_to_id(token)));
  // Upstream's Qwen2 puts the whole text in NFC before it looks for added tokens, the library does it between them. It differs where a
  // combining mark after a token joins the token's last character.
  const normalize = (json.normalizer as Json | null)?.type === "NFC" ? (text: string) => text.normalize("NFC") : (text: string) => text;

  const piece = (id: number) => added.get(id)?.content ?? reader.read(library.id_to_token(id) ?? "");
  const vocabSize = library.model!.vocab.length;
  let parts: PartsEncoder | undefined;
  let bound: TokenBound | undefined; // made for the first text that is long

  return {
    vocabSize,
    encode: (text) => library.encode(normalize(text)).ids,
    encodeParts: (prompt) => (parts ??= new PartsEncoder(json, library, normalize)).encode(prompt),
    atLeast: (text) => (bound ??= new TokenBound(Array.from({ length: vocabSize }, (_, id) => piece(id)))).of(normalize(text)),
    // Not the library's decode: it drops U+FEFF after byte fallback, and tidies spaces before punctuation unless told not to.
    decode(ids, { skipSpecialTokens = false } = {}) {
      const joiner = new PieceJoiner();
      let text = "";
      for (const id of Array.from(ids)) if (!(skipSpecialTokens && special.has(id))) text += joiner.add(piece(id));
      text += joiner.end();
      return reader.dropsFirstSpace && text.startsWith(" ") ? text.slice(1) : text;
    },
    piece,
    idOf: (token) => library.token_to_id(token),
    isSpecial: (id) => special.has(id),
  };
}

const REFETCH = "The file is damaged or incomplete: fetch it again.";

async function readJson(read: ReadFile, name: string): Promise<Json | undefined> {
  const bytes = await read(name);
  if (bytes === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(utf8(name, bytes));
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError("bad-weights", `${name} is not JSON: ${(cause as Error).message}`, { hint: REFETCH, cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new EngineError("bad-weights", `${name} must hold a JSON object, it holds ${Array.isArray(value) ? "an array" : String(value)}`, {
    hint: REFETCH,
  });
}

function utf8(name: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new EngineError("bad-weights", `${name} is not UTF-8 text`, { hint: REFETCH, cause });
  }
}

async function missingFiles(read: ReadFile, vocab: boolean, merges: boolean): Promise<EngineError> {
  const need = "it needs tokenizer.json, or vocab.json + merges.txt + added_tokens.json";
  const make = `python -c "from transformers import AutoTokenizer as T; T.from_pretrained('DIR', trust_remote_code=True).save_pretrained('DIR')"`;
  if (vocab || merges) {
    const [has, lacks] = vocab ? ["vocab.json", "merges.txt"] : ["merges.txt", "vocab.json"];
    return new EngineError("bad-weights", `the checkpoint has ${has} but not ${lacks}: ${need}`, {
      hint: `Put the model's ${lacks} beside it.`,
    });
  }
  const model = (await read("tokenizer.model")) !== undefined;
  const has = model ? "only tokenizer.model (SentencePiece), which is not supported" : "no tokenizer files";
  const hint = `Copy them from the model's page, or let transformers write tokenizer.json: ${make}`;
  return new EngineError("bad-weights", `the checkpoint has ${has}: ${need}`, { hint });
}
