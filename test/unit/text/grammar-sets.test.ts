import fc from "fast-check";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { ebnfOf } from "../../../src/text/grammar/engine.ts";
import { Kept } from "../../../src/text/grammar/kept.ts";
import type { Format } from "../../../src/text/grammar/schema.ts";
import { MOST_WORK } from "../../../src/text/grammar/work.ts";
import { openLetters } from "../../shared/letters.ts";

// Sets of characters in patterns: right at every edge of UTF-8 and of JSON's escapes, and compiled once however often they come.

const EDGES = [
  ...[0, 7, 8, 9, 10, 11, 12, 13, 14, 0x1a, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x5b, 0x5c, 0x5d, 0x61, 0x62, 0x7f],
  ...[0x80, 0x85, 0xbf, 0xc0, 0xff, 0x7ff, 0x800, 0xfff, 0x1000, 0x2027, 0x2028, 0x2029, 0x202a, 0x203f, 0x2040, 0xcfff, 0xd000, 0xd7ff],
  ...[0xe000, 0xffff, 0x10000, 0x10fff, 0x3ffff, 0x40000, 0xfffff, 0x100000, 0x10ffff],
];
const characters = EDGES.map((code) => String.fromCodePoint(code));
let letters: Awaited<ReturnType<typeof openLetters>>;
beforeAll(async () => {
  letters = await openLetters(`${characters.join("")}0123456789cdefbnrtu`);
});
afterAll(() => letters?.dispose());

const range = fc.tuple(fc.constantFrom(...EDGES), fc.constantFrom(...EDGES)).map(([a, b]) => {
  const [from, to] = [Math.min(a, b), Math.max(a, b)].map((code) => `\\u{${code.toString(16)}}`);
  return `${from}-${to}`;
});
const set = fc
  .tuple(fc.boolean(), fc.array(range, { minLength: 1, maxLength: 4 }))
  .map(([not, ranges]) => `[${not ? "^" : ""}${ranges.join("")}]`);
const isClass = (source: string) => characters.some((each) => new RegExp(source, "u").test(each));

it("a set has the characters that JavaScript's has, as they are and in JSON, alone and repeated", async () => {
  await fc.assert(
    fc.asyncProperty(set.filter(isClass), async (source) => {
      for (const repeated of [source, `${source}{1,2}`, `${source}*`]) {
        const regex: Format = { kind: "regex", source: repeated, flags: "u", name: "schema" };
        const json: Format = { kind: "json", schema: { type: "string", pattern: `^${repeated}$` }, name: "schema" };
        const whole = new RegExp(`^(?:${repeated})$`, "u");
        for (const [i, each] of characters.entries()) {
          const text = repeated === source ? each : each + characters[(7 * i) % characters.length];
          expect(
            [await letters.takes(regex, text), await letters.takes(json, JSON.stringify(text))],
            `${repeated} ${JSON.stringify(text)}`,
          ).toEqual(Array(2).fill(whole.test(text)));
        }
      }
    }),
    {
      numRuns: 12,
      seed: 1,
      examples: [["[^\\u{2028}\\u{2029}\\u{a}\\u{d}]"], ["[\\u{0}-\\u{10ffff}]"], ["[\\u{d000}-\\u{e000}]"], ["[\\u{a}\\u{5c}]"]],
    },
  );
});

it("a pattern's repetition goes to the last character, however long it is", async () => {
  for (const [least, most] of [
    [0, 100],
    [0, 101],
    [99, 250],
    [100, 2300],
    [1950, 1950],
  ] as const) {
    for (const source of [`.{${least},${most}}`, `[ab]{${least},${most}}`]) {
      for (const length of [0, 98, 99, 100, 101, 199, 200, 249, 250, 251, 1949, 1950, 1951, 2299, 2300, 2301]) {
        const taken = await letters.takes({ kind: "regex", source, flags: "u", name: "schema" }, "a".repeat(length));
        expect(taken, `${length} of ${source}`).toBe(length >= least && length <= most);
      }
    }
  }
});

it("what is repeated is a rule where it has several ways, and nothing is repeated more than 100 times", () => {
  const rulesOf = (format: Format) => ebnfOf(format).ebnf.split("\n");
  const regex = (source: string): Format => ({ kind: "regex", source, flags: "u", name: "schema" });
  const string = (schema: object): Format => ({ kind: "json", schema: { type: "string", ...schema }, name: "schema" });
  expect(rulesOf(regex(".{50}"))[0]).toMatch(/^root ::= \(s0\{50,50\} *\)$/); // with the set itself in its place: 106 s for Qwen's vocabulary
  expect(rulesOf(regex(".*a.+.{3,}")).filter((rule) => rule.includes("wide") || rule.includes("\\u00e2")).length).toBe(3); // the set, any number of it, and `wide`
  for (const format of [string({ maxLength: 9000 }), string({ minLength: 8000 }), regex(".{0,9000}"), regex("[a-z]{9000}")]) {
    const times = rulesOf(format).flatMap((rule) => [...rule.matchAll(/\{\d*,?(\d+)\}/g)].map(([, most]) => Number(most)));
    expect(Math.max(...times)).toBe(100); // behind 1,900 characters a token took 2.6 s
  }
});

it("what would be compiled for minutes is refused by name; a pattern of several properties is compiled once", () => {
  const workOf = (format: Format) => ebnfOf(format).work;
  const regex = (source: string): Format => ({ kind: "regex", source, flags: "u", name: "schema" });
  const object = (count: number, each: object, more: object = {}): Format => {
    const properties = Object.fromEntries(Array.from({ length: count }, (_, i) => [`name${i}`, each]));
    return { kind: "json", schema: { type: "object", properties, ...more }, name: "schema" };
  };
  const refused = {
    code: "bad-input",
    param: "schema",
    message: expect.stringContaining("compiled for minutes"),
    hint: expect.any(String),
  };
  const thrown = (act: () => unknown) => {
    try {
      return act();
    } catch (error) {
      return error;
    }
  };
  // 64 s, and longer
  for (const source of ["([ -~]{50}x){100}", "((([ -~]{9}){9}){9}){9}", "(?:[ -~]{1000}|[!-~]{9000})"])
    expect(
      thrown(() => ebnfOf(regex(source))),
      source,
    ).toMatchObject(refused);
  expect(thrown(() => ebnfOf(object(4000, { type: "integer" })))).toMatchObject(refused);
  expect(thrown(() => ebnfOf({ kind: "json", schema: { anyOf: Array(200).fill({ type: "object", properties: { a: {} }, additionalProperties: true }) }, name: "schema" }))).toMatchObject(refused); // biome-ignore format: a line
  for (const source of ["[\\u0000-\\uffff]{200}", ".{0,5000}", "(?:\\d{4}-?){1000}"])
    expect(workOf(regex(source)), source).toBeLessThan(500);
  const one = object(1, { type: "string", format: "email" });
  expect(workOf(object(20, { type: "string", format: "email" })) - workOf(one)).toBeLessThan(10);
});

it("of what was compiled the last used stay, and no more than as much as one may be", async () => {
  const dropped: string[] = [];
  const kept = new Kept<string>((each) => dropped.push(each));
  const made: string[] = [];
  const get = (key: string, work: number, take = async (each: string) => each) => {
    const make = async () => {
      made.push(key);
      return key;
    };
    return kept.take(key, work, make, take);
  };
  for (const key of ["a", "b", "a", "c"]) expect(await get(key, MOST_WORK / 2)).toBe(key);
  expect([made, dropped]).toEqual([["a", "b", "c"], ["b"]]); // a was used behind it
  await get("large", MOST_WORK);
  expect(dropped).toEqual(["b", "a", "c"]);
  for (let i = 0; i < 33; i++) await get(`small ${i}`, 1);
  expect(dropped).toEqual(["b", "a", "c", "large", "small 0"]);
  const taken = kept.take(
    "wrong",
    1,
    () => Promise.reject(new Error("no memory")),
    async () => expect.unreachable(),
  );
  await expect(taken).rejects.toThrow("no memory");
  await kept.clear();
  expect(dropped.length).toBe(37);
});

it("what is being taken goes only when it was", async () => {
  const dropped: string[] = [];
  const kept = new Kept<string>((each) => dropped.push(each));
  const waits: (() => void)[] = [];
  const begin = (key: string) =>
    kept.take(
      key,
      MOST_WORK,
      async () => key,
      async (each) => {
        await new Promise<void>((resolve) => waits.push(resolve));
        expect(dropped).not.toContain(each);
      },
    );
  const all = ["a", "a", "b"].map(begin); // b is as much as one may be: a goes
  await vi.waitUntil(() => waits.length === 3);
  waits[0]!();
  await all[0];
  expect(dropped).toEqual([]);
  waits[1]!();
  await all[1];
  await vi.waitUntil(() => dropped.length > 0);
  expect(dropped).toEqual(["a"]);
  waits[2]!();
  await all[2];
});
