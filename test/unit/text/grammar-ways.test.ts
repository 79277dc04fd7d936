import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Format } from "../../../src/text/grammar/schema.ts";
import { openLetters } from "../../shared/letters.ts";

// Ways that begin or end alike: every text that could be is tried.

let letters: Awaited<ReturnType<typeof openLetters>>;
beforeAll(async () => {
  letters = await openLetters('abcdq"{}: ,<>/\\_\ntolcrgumens[]0123456789.-é');
});
afterAll(() => letters?.dispose());
const takes = (format: Format, text: string) => letters.takes(format, text);

/** All texts of some letters, up to a length. */
function textsOf(letters: string, most: number): string[] {
  let longest = [""];
  const all = [""];
  for (let i = 0; i < most; i++) {
    longest = longest.flatMap((text) => Array.from(letters, (each) => text + each));
    all.push(...longest);
  }
  return all;
}

const json = (schema: object): Format => ({ kind: "json", schema, name: "schema" });
const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 2, maxLength: 4 });
const TEXTS = textsOf("abc", 4);

it("of many words those are taken, and no mixture of two: enum, const, regular expressions", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(word, { minLength: 3, maxLength: 12 }), async (words) => {
      const values = json({ enum: words });
      const choices = json({ anyOf: words.map((each) => ({ const: each })) });
      const pattern = json({ type: "string", pattern: `^(${words.join("|")})$` });
      const expression: Format = { kind: "regex", source: words.join("|"), flags: "", name: "schema" };
      for (const text of TEXTS) {
        const taken = [await takes(values, `"${text}"`), await takes(choices, `"${text}"`), await takes(pattern, `"${text}"`)];
        const all = [...taken, await takes(expression, text)];
        expect(all, `${text} of ${words}`).toEqual(all.map(() => words.includes(text)));
      }
    }),
    { numRuns: 2, seed: 3, examples: [[["cbb", "abb", "abd"]], [["qcb", "qab", "qad"]]] },
  );
  for (const text of ["qcd", "cbd"])
    expect(await takes(json({ enum: ["qcb", "qab", "qad", "cbb", "abb", "abd"] }), `"${text}"`)).toBe(false);
});

it("more words than one rule has ways", async () => {
  const words = TEXTS.filter((text, i) => text.length === 4 && i % 2 === 0);
  for (const text of TEXTS) expect(await takes(json({ enum: words }), `"${text}"`), text).toBe(words.includes(text));
});

it("names of functions and of properties", async () => {
  const names = ["qcb", "qab", "qad"];
  const functions = names.map((name) => ({ name, parameters: { type: "object" }, at: "tools" }));
  const calls: Format = { kind: "calls", functions, several: false, name: "tools" };
  const objects = json({ anyOf: names.map((name) => ({ type: "object", properties: { [name]: { const: 1 } }, required: [name] })) });
  const others = json({ type: "object", properties: { qéb: { const: 1 }, qab: { const: 1 } }, additionalProperties: { const: 2 } });
  for (const name of [...names, "qcd"]) {
    const call = `<tool_call>\n{"name": "${name}", "arguments": {}}\n</tool_call>`;
    expect([await takes(calls, call), await takes(objects, `{"${name}": 1}`)], name).toEqual([name !== "qcd", name !== "qcd"]);
  }
  for (const [text, taken] of [
    ['{"qab": 1, "q": 2}', true],
    ['{"qéb": 1, "qéa": 2}', true],
    ['{"qéb": 2}', false],
    ['{"qab": 1, "qéb": 2}', false],
    ['{"é": 2, "qa": 2, "qabé": 2}', true],
  ] as const) {
    expect(await takes(others, text), text).toBe(taken);
  }
});

it("regular expressions take what JavaScript's do", async () => {
  for (const source of [
    "(?:(?:b+|b[ab]{2,2}|b+)+)a{1,3}(?:[ab]{1,}a|(?:a|a{2,3}bb|b?a{0,2})+|b+(?:b{1}a?b?|a[ab]{4}[ab])[ab]*)|a{4}|(?:a{3}){1}",
    "b*bb|a+b*a|ab?",
    "(?:ab|cb|ad)*|[a-c]{2}d",
    "a{2,3}b|a{3}c|[ab]{2}c",
  ]) {
    const whole = new RegExp(`^(?:${source})$`);
    for (const text of textsOf("abc", 5))
      expect(await takes({ kind: "regex", source, flags: "", name: "schema" }, text), `${source}: ${text}`).toBe(whole.test(text));
  }
});

it("numbers between bounds, down to every digit", async () => {
  const cases: { type: string; [bound: string]: number | string }[] = [
    { type: "integer", minimum: 3, maximum: 46 },
    { type: "integer", exclusiveMinimum: 18, maximum: 107 },
    { type: "number", minimum: 0.5, exclusiveMaximum: 10.2 },
    { type: "number", minimum: -2.1, maximum: -0.9 },
  ];
  for (const schema of cases) {
    const {
      minimum = -Infinity,
      exclusiveMinimum = -Infinity,
      maximum = Infinity,
      exclusiveMaximum = Infinity,
    } = schema as Record<string, number>;
    for (const text of textsOf("019.-", 4)) {
      const written = (schema.type === "integer" ? /^(-?[1-9]\d*|0)$/ : /^-?(0|[1-9]\d*)(\.\d+)?$/).test(text) && !/^-0(\.0*)?$/.test(text);
      const value = Number(text);
      const within = value >= minimum && value > exclusiveMinimum && value <= maximum && value < exclusiveMaximum;
      // Numbers have one form each: 1.0 is 1, where that is a bound.
      const taken = await takes(json(schema), text);
      if (taken) expect(written && within, `${JSON.stringify(schema)}: ${text}`).toBe(true);
      else if (written && within && !/\.\d*0$/.test(text)) expect(taken, `${JSON.stringify(schema)}: ${text}`).toBe(true);
    }
  }
});
