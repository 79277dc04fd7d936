import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import type { Grammars } from "../../../src/text/grammar/engine.ts";
import { loadTokenizer, type Tokenizer } from "../../../src/text/tokenizer.ts";
import { openGrammars } from "../../shared/grammars.ts";
import { pathOf } from "../../support.ts";

let tokenizer: Tokenizer;
let grammars: Grammars;
let end: number;
beforeAll(async () => {
  tokenizer = await loadTokenizer(async (name) => {
    try {
      return readFileSync(pathOf(`weights/nano/${name}`));
    } catch {
      return undefined;
    }
  });
  end = tokenizer.idOf("<|im_end|>")!;
  grammars = await openGrammars(tokenizer, tokenizer.vocabSize + 70, new Set([end]));
});

async function takes(schema: object, text: string): Promise<boolean> {
  const matcher = await grammars.matcher({ kind: "json", schema, name: "schema" });
  try {
    for (const id of [...tokenizer.encode(text), end]) {
      const mask = await matcher.mask();
      if (!((mask[id >> 5]! >>> (id & 31)) & 1)) return false;
      matcher.accept(id);
    }
    return true;
  } finally {
    matcher.dispose();
  }
}

const DIGITS = 15; // more would be rounded when they are read
const bound = fc.integer({ min: -99_999, max: 99_999 });

it("integers between any bounds: those within are taken, those outside are not", async () => {
  await fc.assert(
    fc.asyncProperty(bound, fc.option(bound), fc.boolean(), bound, async (one, other, excluded, any) => {
      const [low, high] = other === null ? [one, undefined] : [Math.min(one, other), Math.max(one, other)];
      const schema = {
        type: "integer",
        [excluded ? "exclusiveMinimum" : "minimum"]: low,
        ...(high === undefined ? {} : { maximum: high + 2 }),
      };
      const within = (value: number) => (excluded ? value > low : value >= low) && (high === undefined || value <= high + 2);
      // Near the bounds, and of fewer and more digits.
      const near = [low - 1, low, low + 1, ...(high === undefined ? [] : [high + 1, high + 2, high + 3])];
      for (const value of [...near, any, Math.trunc(low / 10), low * 10, 10 ** DIGITS - 1]) {
        if (Object.is(value, -0)) continue;
        expect(await takes(schema, String(value)), `${JSON.stringify(schema)} and ${value}`).toBe(within(value));
      }
      expect(await takes(schema, `1${"0".repeat(DIGITS)}`)).toBe(false);
    }),
    { numRuns: 40, seed: 5 },
  );
});
