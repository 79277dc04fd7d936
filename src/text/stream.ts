import type { PieceJoiner } from "./pieces.ts";
import { stripEnd, stripStart } from "./response.ts";
import { END_OF_TURN, TEMPLATES, type Template } from "./template.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Decodes an answer token by token. All pieces together are `finishResponse(decode(ids, { skipSpecialTokens: true }))`, exactly, or, where
 * the template's answers are not trimmed, `decode(ids, { skipSpecialTokens: true })`.
 *
 * A piece is held back while later tokens may still change it: an unfinished UTF-8 character, white space that may turn out to be the
 * last, and the beginning of a spelled-out `<|im_end|>` or of a stop string. What a push costs depends on the new token's text only.
 */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #joiner: PieceJoiner; // holds an unfinished character
  readonly #trimmed: boolean;
  #spaces = ""; // white space that comes out only if more text follows it
  readonly #words: readonly string[]; // what ends the text: END_OF_TURN and the stop strings
  #tail = ""; // after the spaces: a beginning of one of the words, or nothing
  #started = false;
  #ended = false;
  #stopped = false;

  /**
   * @param stop strings that end the text before them, wherever tokens begin and end
   * @param template whether the text is trimmed: that of an answer may be, a text that is gone on with is not; and whether it is exactly
   * what its tokens stand for
   */
  constructor(
    tokenizer: Tokenizer,
    stop: readonly string[] = [],
    { trimmed, exact = false }: Pick<Template, "trimmed"> & { exact?: boolean } = TEMPLATES.internvl2_5,
  ) {
    this.#tokenizer = tokenizer;
    this.#joiner = tokenizer.joiner(exact);
    this.#trimmed = trimmed;
    this.#words = trimmed ? [END_OF_TURN, ...stop] : stop;
  }

  /** Whether a stop string has come. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text that this token makes certain; often "". */
  push(id: number): string {
    // A special token is as if it were not there: bytes on its two sides may still make one character.
    if (this.#ended || this.#tokenizer.isSpecial(id)) return "";
    return this.#add(this.#joiner.add(this.#tokenizer.piece(id)));
  }

  /** The rest, once no more tokens come. */
  end(): string {
    if (this.#ended) return "";
    const rest = this.#add(this.#joiner.end());
    this.#ended = true;
    return rest + (this.#tail === "" ? "" : this.#emit(this.#tail));
  }

  #add(text: string): string {
    if (text === "") return "";
    const unsettled = this.#tail + text;
    const [end, word] = firstOf(unsettled, this.#words);
    this.#ended = word !== undefined;
    this.#stopped = word !== undefined && word !== END_OF_TURN;
    const settled = this.#ended ? end : unsettled.length - Math.max(0, ...this.#words.map((each) => overlap(unsettled, each)));
    this.#tail = this.#ended ? "" : unsettled.slice(settled);
    return this.#emit(unsettled.slice(0, settled));
  }

  /** Lets text out, except for the white space at its end. */
  #emit(text: string): string {
    if (!this.#trimmed) return text;
    const solid = stripEnd(text);
    const spaces = text.slice(solid.length);
    if (solid === "") {
      this.#spaces += spaces;
      return "";
    }
    const piece = this.#started ? this.#spaces + solid : stripStart(solid);
    this.#started = true;
    this.#spaces = spaces;
    return piece;
  }
}

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
function overlap(text: string, word: string): number {
  for (let length = Math.min(text.length, word.length - 1); length > 0; length--) {
    if (text.endsWith(word.slice(0, length))) return length;
  }
  return 0;
}
