import type { Piece } from "./pieces.ts";

/**
 * Says how many tokens a text has at least, without tokenising it, in time linear in its length: at every byte a token takes at most as
 * many bytes as the longest piece of the vocabulary that begins with this byte and the next. A text of a million letters would be
 * tokenised for seconds only to hear that it does not fit.
 */
export class TokenBound {
  readonly #longest = new Uint16Array(2 ** 16); // by a piece's first two bytes: the most bytes of such a piece

  constructor(pieces: Iterable<Piece>) {
    const utf8 = new TextEncoder();
    for (const piece of pieces) {
      if (typeof piece !== "string") this.#add(piece);
      else {
        this.#add(utf8.encode(piece));
        // SentencePiece puts a space before a text that has none there.
        if (piece.startsWith(" ")) this.#add(utf8.encode(piece.slice(1)));
      }
    }
  }

  #add(bytes: Uint8Array): void {
    const [first, second] = bytes;
    if (first === undefined || second === undefined) return; // one byte is what a token takes in any case
    const at = first * 256 + second;
    this.#longest[at] = Math.max(this.#longest[at]!, Math.min(bytes.length, 2 ** 16 - 1));
  }

  /** The least number of tokens of this text. */
  of(text: string): number {
    const bytes = new TextEncoder().encode(text);
    let tokens = 0;
    let end = 0; // as far as this many tokens can reach
    let further = 0; // as far as one more can
    for (let i = 0; i < bytes.length; i++) {
      const longest = i + 1 < bytes.length ? this.#longest[bytes[i]! * 256 + bytes[i + 1]!]! : 1;
      further = Math.max(further, i + Math.max(1, longest));
      if (i < end) continue;
      tokens++;
      end = further;
    }
    return tokens;
  }
}
