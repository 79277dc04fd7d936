import { expect } from "vitest";
import type { Format } from "../../src/text/grammar/schema.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import { openGrammars } from "./grammars.ts";

/** Grammars over a vocabulary of single characters: whether a format allows a text is then asked character by character, and cheap. */
export async function openLetters(
  texts: string,
): Promise<{ takes(format: Format, text: string): Promise<boolean>; dispose(): Promise<void> }> {
  const letters = [...new Set(texts)];
  const end = letters.length;
  const tokenizer = {
    vocabSize: end + 1,
    isSpecial: (id: number) => id === end,
    piece: (id: number) => letters[id]!,
  } as unknown as Tokenizer;
  const grammars = await openGrammars(tokenizer, end + 1, new Set([end]));
  return {
    async takes(format, text) {
      const ids = Array.from(text, (each) => letters.indexOf(each));
      expect(ids, `letters of ${text}`).not.toContain(-1);
      const matcher = await grammars.matcher(format);
      const taken = ids.every((id) => matcher.accept(id)) && matcher.accept(end);
      matcher.dispose();
      return taken;
    },
    dispose: () => grammars.dispose(),
  };
}
