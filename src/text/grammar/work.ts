import type { Characters } from "./characters.ts";

/** Others than some names: of each of their letters all that a string may be is looked at. */
const OTHERS = /\| wide \| escape\) rest/g;

/**
 * How much there is to compile at a place where one character of a set comes: of a vocabulary all tokens are looked at that begin so, few where it has digits
 * only. 1 is about 3 ms for Qwen's, and 10 KB.
 */
export function workAt(set: Characters): number {
  const letters = set.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  return letters > 20 ? Math.min(5, letters / 20) : 0;
}

/**
 * How much there is to compile in all. Of long grammars it is properties that may be left out, each of which may follow each: 500 of them, 98,000 characters, take
 * 5 s and 125 MB.
 *
 * @param ebnf a grammar's own rules
 * @param places what its patterns have
 */
export const workOf = (ebnf: string, places: number): number =>
  places + 120 * (ebnf.match(OTHERS)?.length ?? 0) + (ebnf.length / 1000) ** 2 / 6;

/** More is refused: some 60 s. */
export const MOST_WORK = 20_000;
/** More is compiled beside what other answers wait for: some 2 s. */
export const QUICK_WORK = 500;
