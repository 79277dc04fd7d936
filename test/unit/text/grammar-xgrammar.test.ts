import { readFileSync } from "node:fs";
import { beforeAll, expect, it } from "vitest";
import type { Grammars } from "../../../src/text/grammar/engine.ts";
import type { Format } from "../../../src/text/grammar/schema.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { openGrammars } from "../../shared/grammars.ts";
import { pathOf } from "../../support.ts";

// What XGrammar's own tests say of schemas and regular expressions holds of the grammars that are written for it here.

type Case<Source> = [source: Source, text: string, taken: boolean];
const cases: { json: Case<object>[]; regex: Case<string>[] } = JSON.parse(
  readFileSync(pathOf("test/fixtures/grammar/xgrammar.json"), "utf8"),
);
const END = 256;
const bytes = {
  vocabSize: END + 1,
  isSpecial: (id: number) => id === END,
  piece: (id: number) => Uint8Array.of(id),
} as unknown as Tokenizer;
let grammars: Grammars;
beforeAll(async () => {
  grammars = await openGrammars(bytes, END + 1, new Set([END]));
});

async function takes(format: Format, text: string): Promise<boolean> {
  const matcher = await grammars.matcher(format);
  const taken = new TextEncoder().encode(text).every((byte) => matcher.accept(byte)) && matcher.accept(END);
  matcher.dispose();
  return taken;
}

it(`${cases.json.length} texts by JSON Schemas`, async () => {
  for (const [schema, text, taken] of cases.json)
    expect(await takes({ kind: "json", schema, name: "schema" }, text), `${JSON.stringify(schema)}: ${text}`).toBe(taken);
});

it(`${cases.regex.length} texts by regular expressions`, async () => {
  for (const [source, text, taken] of cases.regex)
    expect(await takes({ kind: "regex", source, flags: "u", name: "schema" }, text), `${source}: ${text}`).toBe(taken);
});

it("texts of many characters, to the last one", async () => {
  for (const [minLength, maxLength] of [
    [0, 99],
    [0, 100],
    [0, 101],
    [3, 250],
    [99, 200],
    [100, 200],
    [101, 201],
    [150, 450],
    [300, 300],
    [0, undefined],
    [101, undefined],
    [200, undefined],
    [0, 2050],
    [1950, 2200],
  ] as const) {
    const schema = { type: "string", minLength, ...(maxLength === undefined ? {} : { maxLength }) };
    for (const length of [
      0, 1, 3, 98, 99, 100, 101, 102, 149, 150, 199, 200, 201, 202, 249, 250, 251, 299, 300, 301, 399, 400, 449, 450, 451, 1949, 1950, 2050,
      2051, 2200, 2201,
    ]) {
      const right = length >= minLength && length <= (maxLength ?? length);
      const taken = await takes({ kind: "json", schema, name: "schema" }, JSON.stringify("é".repeat(length)));
      expect(taken, `${length} of ${minLength} … ${maxLength}`).toBe(right);
    }
  }
});

it("a pattern as Python writes it, with backslashes before what needs none", async () => {
  const schema = { type: "string", pattern: '^\\d{2}\\-[\\-\\"a]\\@\\\\$' };
  for (const text of ["12-a@\\", "00--@\\", '00-"@\\', "12a@\\", "12-a@", "12-a\\@\\"])
    expect(await takes({ kind: "json", schema, name: "schema" }, JSON.stringify(text)), text).toBe(/^\d{2}-[-"a]@\\$/.test(text));
});
