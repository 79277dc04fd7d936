import { type Grammars, grammarsOf, vocabularyOf } from "../../src/text/grammar/engine.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";

/** A tokenizer's grammars in this thread. */
export const openGrammars = (tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<Grammars> =>
  grammarsOf(vocabularyOf(tokenizer, rows, stopIds), rows, stopIds);
