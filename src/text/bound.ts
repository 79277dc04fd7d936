import type { Piece } from "./pieces.ts";

/**
 * Says how many tokens a text has at least, without tokenising it, in time linear in its length: at every byte a token takes at most as
 * many bytes as the longest piece of the vocabulary that begins with this byte and the next. A text of a million letters would be
 * tokenised for seconds only to hear that it does not fit.
 */
export function tokenBound(pieces: Iterable<Piece>): (text: string) => number {
  const utf8 = new TextEncoder();
  const longest = new Uint16Array(2 ** 16); // by a piece's first two bytes: the most bytes of such a piece
  const add = ({ 0: first, 1: second, length }: Uint8Array): void => {
    if (first === undefined || second === undefined) return; // one byte is what a token takes in any case
    const at = first * 256 + second;
    longest[at] = Math.max(longest[at]!, Math.min(length, 2 ** 16 - 1));
  };
  for (const piece of pieces) {
    add(typeof piece === "string" ? utf8.encode(piece) : piece);
    // SentencePiece puts a space before a text that has none there.
    if (typeof piece === "string" && piece.startsWith(" ")) add(utf8.encode(piece.slice(1)));
  }
  return (text) => {
    const bytes = utf8.encode(text);
    let tokens = 0;
    let end = 0; // as far as this many tokens can reach
    let further = 0; // as far as one more can
    for (let i = 0; i < bytes.length; i++) {
      const most = i + 1 < bytes.length ? longest[bytes[i]! * 256 + bytes[i + 1]!]! : 1;
      further = Math.max(further, i + Math.max(1, most));
      if (i < end) continue;
      tokens++;
      end = further;
    }
    return tokens;
  };
}
