import { END_OF_TURN } from "./template.ts";

/**
 * What Python's `str.strip` removes. JavaScript's `trim` keeps the separators U+001C to U+001F and U+0085, and removes U+FEFF,
 * which Python keeps.
 */
const WHITESPACE = new Set(
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
);

/** The answer in a decoded text: what comes before the end of the turn, without white space around (upstream `chat`). */
export function finishResponse(text: string): string {
  const end = text.indexOf(END_OF_TURN);
  return stripStart(stripEnd(end < 0 ? text : text.slice(0, end)));
}

/** A text without white space at its start, as Python's `lstrip`. */
export function stripStart(text: string): string {
  let start = 0;
  while (start < text.length && WHITESPACE.has(text[start]!)) start++;
  return text.slice(start);
}

/** A text without white space at its end, as Python's `rstrip`. */
export function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && WHITESPACE.has(text[end - 1]!)) end--;
  return text.slice(0, end);
}
