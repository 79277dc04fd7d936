import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ebnfOf, type Grammars } from "../../../src/text/grammar/engine.ts";
import type { Format } from "../../../src/text/grammar/schema.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import { openGrammars } from "../../shared/grammars.ts";
import { randomNumbers } from "../../shared/random.ts";
import { schemas } from "../../shared/schemas.ts";

// Beside a grammar whose strings have lengths stands the same one whose strings have none: what may follow is the same with and without it.

const PROBE = "\ue0f3";
const bytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
const texts = [
  ..."ab",
  "ab",
  "cat",
  " sits",
  "größe",
  "名名",
  "\u{1F600}",
  '"',
  '",',
  '", "',
  'b"',
  '"}',
  '"]',
  '": "',
  "\\",
  '\\"',
  "\\n",
  "a\\",
]
  .concat(["a", "é", "名", " "].flatMap((letter) => [3, 9, 12, 13, 24, 25, 64, 65, 90].map((length) => letter.repeat(length))))
  .concat([PROBE, '{"', '["', 'a", "b": "', 'a"}\n</tool_call>', "<tool_call>", 'x"y'])
  .map((text) => new TextEncoder().encode(text));
const tokens = [...bytes, ...texts, Uint8Array.of(0x61, 0xe5, 0x90), Uint8Array.of(0x8d, 0x61)];
const END = tokens.length;
const tokenizer = { vocabSize: END + 1, isSpecial: (id: number) => id === END, piece: (id: number) => tokens[id]! } as unknown as Tokenizer;
let both: readonly [Grammars, Grammars];
beforeAll(async () => {
  const open = () => openGrammars(tokenizer, END + 1, new Set([END]));
  both = [await open(), await open()];
});
afterAll(async () => {
  for (const each of both ?? []) await each.dispose();
});

/** Walks of a format, each id any of those that may come: the longer ones rather, and within a string seldom its end. */
async function compare(format: Format, walks: number): Promise<void> {
  const grammar = ebnfOf(format);
  for (let seed = 0; seed < walks; seed++) {
    const random = randomNumbers(seed);
    const [loose, own] = [await both[0].begin(grammar), await both[1].begin({ ...grammar, loose: undefined })];
    const said: number[] = [];
    for (let step = 0; step < 60 && !own.ended; step++) {
      const mask = await own.mask();
      expect(await loose.mask(), `${JSON.stringify(format)} behind ${Buffer.concat(said.map((id) => tokens[id]!))}`).toEqual(mask);
      const ids = Array.from({ length: END + 1 }, (_, id) => id).filter((id) => ((mask[id >> 5]! >> (id & 31)) & 1) === 1);
      const long = ids.filter((id) => id >= 256);
      const among = long.length > 0 && random() < 0.7 ? long : ids;
      const id = among[Math.floor(random() * among.length)]!;
      expect([loose.accept(id), own.accept(id)]).toEqual([true, true]);
      said.push(id);
    }
    loose.dispose();
    own.dispose();
  }
}
const json = (schema: object): Format => ({ kind: "json", schema, name: "schema" });
const text = (bounds: object) => ({ type: "string", ...bounds });
const objectOf = (properties: object, more: object = {}) => ({ type: "object", properties, required: Object.keys(properties), ...more });

it.each<[string, object]>([
  ["one long string", text({ maxLength: 300 })],
  ["a string that has to be long", text({ minLength: 70 })],
  ["both", text({ minLength: 20, maxLength: 130 })],
  ["of several lengths", objectOf({ a: text({ maxLength: 14 }), b: text({ minLength: 3 }), c: text({ maxLength: 95 }), d: text({}) })],
  ["one of several lengths", { anyOf: [text({ maxLength: 15 }), text({ minLength: 30, maxLength: 100 }), { enum: ["cat sits", 3] }] }],
  ["or of a pattern", { anyOf: [text({ maxLength: 26 }), text({ pattern: "^[a-c]{2,90}$" })] }],
  ["or of any pattern", { anyOf: [text({ maxLength: 15 }), text({ pattern: "^[^b]*$" })] }],
  ["or with the character itself", { anyOf: [text({ maxLength: 15 }), { const: PROBE.repeat(30) }] }],
  ["other names", objectOf({ cat: text({ maxLength: 40 }) }, { additionalProperties: text({ minLength: 2 }) })],
  [
    "short ones",
    objectOf({ a: text({ maxLength: 3 }), b: text({ minLength: 2, maxLength: 11 }), c: text({ minLength: 5, maxLength: 5 }) }),
  ],
  ["short ones in a list", { type: "array", items: text({ maxLength: 8 }), minItems: 6 }],
  [
    "short, or something else",
    { type: "array", items: { anyOf: [text({ maxLength: 4 }), { enum: ["cat sits", "名名a", 3] }] }, minItems: 6 },
  ],
  ["a list", { type: "array", items: text({ maxLength: 13 }), minItems: 2 }],
])("masks within a text: %s", (_, schema) => compare(json(schema), 4));

it("masks of calls, forced and within a text", async () => {
  const functions = [{ name: "cat", parameters: objectOf({ a: text({ maxLength: 70 }) }), at: "tools" }];
  for (const within of [false, true]) await compare({ kind: "calls", functions, several: true, within, name: "tools" }, 3);
});

it("masks of random schemas", async () => {
  await fc.assert(
    fc.asyncProperty(schemas, (schema) => compare(json(schema), 1)),
    { numRuns: 15, seed: 5 },
  );
});

it("a grammar has a loose one where its strings have lengths, and nothing else may have the character that shows them", () => {
  const loose = (schema: object) => ebnfOf(json(schema)).loose !== undefined;
  const long = text({ maxLength: 50 });
  expect(loose(objectOf({ a: text({}) }))).toBe(false);
  expect(loose(objectOf({ a: long }))).toBe(true);
  expect(loose(objectOf({ a: long, b: text({ pattern: "^[a-c]+$" }), c: text({ format: "email" }) }))).toBe(true);
  for (const other of [
    text({ pattern: "^[^a]+$" }),
    text({ pattern: "a" }),
    text({ pattern: "^.$" }),
    { const: PROBE },
    { enum: [{ [PROBE]: 1 }] },
  ])
    expect(loose(objectOf({ a: long, b: other })), JSON.stringify(other)).toBe(false);
  expect(loose(objectOf({ [PROBE]: long }))).toBe(false);
});
