import { badWeights } from "../errors.ts";
import { typesOf } from "./check-json.ts";
import type { cleaner } from "./cleanup.ts";

/** What a token adds to a text: bytes, which may be part of a character, or characters that end an unfinished one. */
export type Piece = Uint8Array | string;

/** How the tokens of a vocabulary stand for text. */
export interface PieceReader {
  read(token: string): Piece;
  /** SentencePiece writes a text as if a space came before it. */
  dropsFirstSpace: boolean;
  broken: Broken;
  /** Whether every byte has a token: then every text can be written. */
  byteLevel: boolean;
}

/**
 * The reader for a tokenizer.json's `decoder`: byte-level BPE (Qwen2), or SentencePiece with byte fallback (InternLM2, Llama).
 * @throws EngineError `bad-weights` for other kinds.
 */
export function pieceReader(decoder: unknown): PieceReader {
  const kinds = typesOf(decoder) as string[]; // check-json.ts has seen them
  if (kinds.length === 1 && kinds[0] === "ByteLevel")
    return { read: bytesOfToken, dropsFirstSpace: false, broken: "beginnings", byteLevel: true };
  const sentencePiece = ["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"];
  if (kinds.length === 0 || !kinds.every((kind) => sentencePiece.includes(kind))) {
    const message = `tokenizer.json has a decoder of kind ${kinds.join(" + ") || "none"}, it must be ByteLevel or SentencePiece's`;
    throw badWeights(message, "Use the tokenizer files of an InternVL checkpoint.");
  }
  return {
    read: (token) => (/^<0x[0-9A-F]{2}>$/.test(token) ? Uint8Array.of(Number(token.slice(1, -1))) : token.replaceAll("▁", " ")),
    dropsFirstSpace: kinds.includes("Strip") || kinds.includes("Metaspace"),
    broken: "runs", // as ByteFallback of the tokenizers library has it
    byteLevel: false,
  };
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

/** The characters of the bytes 0, 1, … */
export const CHARACTERS: readonly string[] = [...BYTE_OF_CHARACTER.keys()];

/** A character outside the alphabet gives byte 0, as in `@huggingface/tokenizers`. */
function bytesOfToken(token: string): Uint8Array {
  return Uint8Array.from(token, (character) => BYTE_OF_CHARACTER.get(character) ?? 0);
}

/** What broken UTF-8 becomes: a U+FFFD for each longest beginning of a character, for each byte, or for all bytes of a run with a broken one. */
export type Broken = "beginnings" | "bytes" | "runs";

/** Bytes of the character that a byte begins; 0 where it begins none. */
const length = (byte: number): number => (byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0);
const REPLACEMENT = "\ufffd";

/** Joins the bytes of consecutive pieces to characters. What may still become one is held back. */
function byteJoiner(broken: Broken) {
  const stream = new TextDecoder("utf-8", { ignoreBOM: true }); // U+FEFF is a character like others
  if (broken === "beginnings") return { add: (bytes: Uint8Array) => stream.decode(bytes, { stream: true }), end: () => stream.decode() };
  const whole = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  let held: number[] = [];
  const decode = (bytes: readonly number[]): string | undefined => {
    try {
      return whole.decode(Uint8Array.from(bytes));
    } catch {
      return undefined;
    }
  };
  /** What the held bytes begin with, character by character; `all` of them, or as far as none waits for more. */
  const characters = (all: boolean): string => {
    let text = "";
    while (held.length > 0) {
      const size = length(held[0]!);
      if (size > held.length && !all) break;
      const character = size > 0 && size <= held.length ? decode(held.slice(0, size)) : undefined;
      held.splice(0, character === undefined ? 1 : size);
      text += character ?? REPLACEMENT;
    }
    return text;
  };
  return {
    add(bytes: Uint8Array): string {
      held.push(...bytes);
      return broken === "runs" ? "" : characters(false);
    },
    /** No byte follows. */
    end(): string {
      if (broken === "bytes") return characters(true);
      const run = held;
      held = [];
      return decode(run) ?? REPLACEMENT.repeat(run.length);
    },
  };
}

/** How a tokenizer joins pieces to a text. */
export interface Joining {
  broken: Broken;
  dropsFirstSpace: boolean;
  /** What cleans the text up, where it is (cleanup.ts). */
  cleaning: typeof cleaner | undefined;
}

/** What makes text of an answer's pieces; what later pieces may change is held back. */
export interface PieceJoiner {
  /** The text that a further piece brings. */
  add(piece: Piece): string;
  /** What was held back, behind the last piece. */
  end(): string;
}

/** Joins pieces to text as a tokenizer does. */
export function pieceJoiner({ broken, dropsFirstSpace, cleaning }: Joining): PieceJoiner {
  const bytes = byteJoiner(broken);
  const clean = cleaning?.();
  let first = dropsFirstSpace;
  const out = (text: string): string => {
    if (text === "") return "";
    const kept = first && text.startsWith(" ") ? text.slice(1) : text;
    first = false;
    return clean ? clean.add(kept) : kept;
  };
  return {
    add(piece) {
      if (broken === "bytes" && typeof piece !== "string") first = false; // SentencePiece's own takes no byte for the first space
      return out(typeof piece === "string" ? bytes.end() + piece : bytes.add(piece));
    },
    end: () => out(bytes.end()) + (clean?.end() ?? ""),
  };
}
