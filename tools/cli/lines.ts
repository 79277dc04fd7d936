import type { FileHandle } from "node:fs/promises";

/** A line of a text file, with where it lies. */
export interface Line {
  /** Counted from 1, empty ones too. */
  number: number;
  /** Without its end, CRLF or LF, and without a byte order mark. */
  text: string;
  /** Bytes of the file, the line's end included. */
  begin: number;
  end: number;
  /** Whether the line's end is there; the last one may lack it. */
  ended: boolean;
  /** Whether the line is longer than anything that is read: `text` is its beginning. */
  tooLong: boolean;
}

export const MOST_LINE = 64 * 2 ** 20; // bytes
const PIECE = 2 ** 18;
const LF = 10;

/** The lines of a UTF-8 file that are not empty; a piece of the file is in memory at a time. */
export async function* readLines(handle: FileHandle): AsyncGenerator<Line> {
  const buffer = Buffer.allocUnsafe(PIECE);
  let parts: Buffer[] = [];
  let held = 0; // bytes in parts
  let begin = 0;
  let at = 0;
  let number = 0;
  const hold = (bytes: Buffer) => {
    const kept = bytes.subarray(0, Math.max(0, MOST_LINE - held));
    if (kept.length > 0) parts.push(Buffer.from(kept));
    held += kept.length;
  };
  const take = (end: number, ended: boolean): Line => {
    const tooLong = end - begin - (ended ? 1 : 0) > MOST_LINE;
    const text = Buffer.concat(parts).toString("utf8");
    const line = { number: ++number, text: number === 1 ? text.replace(/^\ufeff/, "") : text, begin, end, ended, tooLong };
    parts = [];
    held = 0;
    begin = end;
    return { ...line, text: line.text.replace(/\r$/, "") };
  };
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, PIECE, at);
    if (bytesRead === 0) break;
    const piece = buffer.subarray(0, bytesRead);
    let from = 0;
    for (let lf = piece.indexOf(LF); lf >= 0; lf = piece.indexOf(LF, from)) {
      hold(piece.subarray(from, lf));
      from = lf + 1;
      const line = take(at + from, true);
      if (line.text.trim() !== "") yield line;
    }
    hold(piece.subarray(from));
    at += bytesRead;
  }
  if (begin < at) {
    const line = take(at, false);
    if (line.text.trim() !== "") yield line;
  }
}
