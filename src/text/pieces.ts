import { EngineError } from "../errors.ts";
import { described } from "../options.ts";

/** What a token adds to a text: bytes, which may be part of a character, or characters that end an unfinished one. */
export type Piece = Uint8Array | string;

/** How the tokens of a vocabulary stand for text. */
export interface PieceReader {
  read(token: string): Piece;
  /** SentencePiece writes a text as if a space came before it. */
  dropsFirstSpace: boolean;
  /** Whether every byte has a token: then every text can be written. */
  byteLevel: boolean;
}

/**
 * The reader for a tokenizer.json's `decoder`: byte-level BPE (Qwen2), or SentencePiece with byte fallback (InternLM2, Llama).
 * @throws EngineError `bad-weights` for other kinds.
 */
export function pieceReader(decoder: unknown): PieceReader {
  const kinds = decoderKinds(decoder);
  if (kinds.length === 1 && kinds[0] === "ByteLevel") return { read: bytesOfToken, dropsFirstSpace: false, byteLevel: true };
  const sentencePiece = ["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"];
  if (kinds.length === 0 || !kinds.every((kind) => sentencePiece.includes(kind))) {
    const message = `tokenizer.json has a decoder of kind ${kinds.join(" + ") || "none"}, it must be ByteLevel or SentencePiece's`;
    throw new EngineError("bad-weights", message, {
      hint: "Use the tokenizer.json of an InternVL checkpoint with a Qwen2, InternLM2 or Llama language model.",
    });
  }
  return {
    read: (token) => (/^<0x[0-9A-F]{2}>$/.test(token) ? Uint8Array.of(Number(token.slice(1, -1))) : token.replaceAll("▁", " ")),
    dropsFirstSpace: kinds.includes("Strip") || kinds.includes("Metaspace"),
    byteLevel: false,
  };
}

function decoderKinds(decoder: unknown): string[] {
  const { type, decoders } = (decoder ?? {}) as { type?: string; decoders?: unknown[] };
  if (type === "Sequence" && Array.isArray(decoders)) return decoders.flatMap(decoderKinds);
  return type === undefined ? [] : [typeof type === "string" ? type : described(type)];
}

/**
 * GPT-2's alphabet for bytes: every byte has a printable character, so that a vocabulary can be a list of strings.
 * The 188 bytes that print already stand for themselves, the other 68 become U+0100, U+0101, … in order.
 */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = (() => {
  const prints = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const bytes = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) bytes.set(String.fromCharCode(prints(byte) ? byte : next++), byte);
  return bytes;
})();

/** A character outside the alphabet gives byte 0, as in `@huggingface/tokenizers`. */
function bytesOfToken(token: string): Uint8Array {
  return Uint8Array.from(token, (character) => BYTE_OF_CHARACTER.get(character) ?? 0);
}

/** Joins pieces to text, holding an unfinished UTF-8 character back. Bytes that can never be one come out as U+FFFD. */
export class PieceJoiner {
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true }); // U+FEFF is a character like others

  add(piece: Piece): string {
    return typeof piece === "string" ? this.#utf8.decode() + piece : this.#utf8.decode(piece, { stream: true });
  }

  end(): string {
    return this.#utf8.decode();
  }
}
