import { stripEnd, stripStart } from "./response.ts";
import { END_OF_TURN, TEMPLATES, type Template } from "./template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Decodes an answer token by token. All pieces together are `finishResponse(decode(ids, { skipSpecialTokens: true }))`, exactly, or, where
 * the template's answers are not trimmed, `decode(ids, { skipSpecialTokens: true })`.
 *
 * A piece is held back while later tokens may still change it: an unfinished UTF-8 character, white space that may turn out to be the
 * last, and the beginning of a spelled-out `<|im_end|>` or of a stop string. What a push costs depends on the new token's text only.
 *
 * @param stop strings that end the text before them, wherever tokens begin and end
 * @param template whether the text is trimmed: that of an answer may be, a text that is gone on with is not; and whether it is exactly
 * what its tokens stand for
 */
export function streamDecoder(
  tokenizer: Tokenizer,
  stop: readonly string[] = [],
  { trimmed, exact = false }: Pick<Template, "trimmed"> & { exact?: boolean } = TEMPLATES.internvl2_5,
) {
  const joiner = tokenizer.joiner(exact); // holds an unfinished character
  const words = trimmed ? [END_OF_TURN, ...stop] : stop; // what ends the text
  let spaces = ""; // white space that comes out only if more text follows it
  let tail = ""; // after the spaces: a beginning of one of the words, or nothing
  let started = false;
  let ended = false;
  let stopped = false;

  function add(text: string): string {
    if (text === "") return "";
    const unsettled = tail + text;
    const [end, word] = firstOf(unsettled, words);
    ended = word !== undefined;
    stopped = word !== undefined && word !== END_OF_TURN;
    const settled = ended ? end : unsettled.length - Math.max(0, ...words.map((each) => overlap(unsettled, each)));
    tail = ended ? "" : unsettled.slice(settled);
    return out(unsettled.slice(0, settled));
  }

  /** Lets text out, except for the white space at its end. */
  function out(text: string): string {
    if (!trimmed) return text;
    const solid = stripEnd(text);
    const behind = text.slice(solid.length);
    if (solid === "") {
      spaces += behind;
      return "";
    }
    const piece = started ? spaces + solid : stripStart(solid);
    started = true;
    spaces = behind;
    return piece;
  }

  return {
    /** Whether a stop string has come. */
    get stopped(): boolean {
      return stopped;
    },
    /** The text that this token makes certain; often "". A special token is as if it were not there: bytes on its two sides may still make one character. */
    push: (id: number): string => (ended || tokenizer.isSpecial(id) ? "" : add(joiner.add(tokenizer.piece(id)))),
    /** The rest, once no more tokens come. */
    end(): string {
      if (ended) return "";
      const rest = add(joiner.end());
      ended = true;
      return rest + (tail === "" ? "" : out(tail));
    },
  };
}

/** What decodes an answer while it comes. */
export type StreamDecoder = ReturnType<typeof streamDecoder>;

/**
 * Where the word that is complete first begins, and which it is. What counts is where a word ends, not where it begins: an answer is
 * over with the first stop string that has come, and the same text must end at the same place however tokens cut it. Of two that are
 * complete at once, the longer.
 */
function firstOf(text: string, words: readonly string[]): [at: number, word: string | undefined] {
  let found: [number, string | undefined] = [text.length, undefined];
  let end = Number.POSITIVE_INFINITY;
  for (const word of words) {
    const at = text.indexOf(word);
    const ends = at + word.length;
    if (at >= 0 && (ends < end || (ends === end && at < found[0]))) {
      found = [at, word];
      end = ends;
    }
  }
  return found;
}

/** The length of the longest end of `text` that is a proper beginning of `word`. */
export function overlap(text: string, word: string): number {
  for (let length = Math.min(text.length, word.length - 1); length > 0; length--) {
    if (text.endsWith(word.slice(0, length))) return length;
  }
  return 0;
}
