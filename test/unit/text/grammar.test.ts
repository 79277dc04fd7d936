import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { beforeAll, describe, expect, inject, it } from "vitest";
import type { Grammars } from "../../../src/text/grammar/engine.ts";
import { type Format, grammarOf } from "../../../src/text/grammar/schema.ts";
import { loadTokenizer, type Tokenizer } from "../../../src/text/tokenizer.ts";
import { openGrammars } from "../../shared/grammars.ts";
import { randomNumbers } from "../../shared/random.ts";
import { errorsOf, schemas, validatorOf } from "../../shared/schemas.ts";
import { pathOf } from "../../support.ts";

/** A tokenizer, its grammars, and the id that ends an answer. */
interface Vocabulary {
  tokenizer: Tokenizer;
  grammars: Grammars;
  end: number;
}

async function open(folder: string): Promise<Vocabulary> {
  const read = async (name: string): Promise<Uint8Array | undefined> => {
    for (const [file, unpack] of [
      [name, (data: Uint8Array) => data],
      [`${name}.gz`, gunzipSync],
    ] as const) {
      try {
        return unpack(readFileSync(pathOf(`${folder}/${file}`)));
      } catch {}
    }
    return undefined;
  };
  const tokenizer = await loadTokenizer(read);
  const end = (tokenizer.idOf("<|im_end|>") ?? tokenizer.idOf("</s>"))!;
  return { tokenizer, end, grammars: await openGrammars(tokenizer, tokenizer.vocabSize + 70, new Set([end])) };
}

const json = (schema: unknown): Format => ({ kind: "json", schema, name: "schema" });
const regex = ({ source, flags }: RegExp): Format => ({ kind: "regex", source, flags, name: "schema" });

const idsOf = (mask: Uint32Array): number[] =>
  Array.from({ length: mask.length * 32 }, (_, id) => id).filter((id) => (mask[id >> 5]! >>> (id & 31)) & 1);

/** An answer whose every token is drawn from those that may come. */
async function drawn({ tokenizer, grammars, end }: Vocabulary, format: Format, random: () => number, most = 3000): Promise<string> {
  const matcher = await grammars.matcher(format);
  const joiner = tokenizer.joiner(true);
  let text = "";
  try {
    for (let i = 0; i < most; i++) {
      const ids = idsOf(await matcher.mask());
      expect(ids.length, `what may follow ${text}`).toBeGreaterThan(0);
      expect(ids.filter((id) => id >= tokenizer.vocabSize)).toEqual([]);
      const id = i > 30 && ids.includes(end) ? end : ids[Math.floor(random() * ids.length)]!;
      expect(matcher.accept(id)).toBe(true);
      if (id === end) return text + joiner.end();
      text += joiner.add(tokenizer.piece(id));
    }
    throw new Error(`no end: ${text.slice(0, 200)}`);
  } finally {
    matcher.dispose();
  }
}

/** Whether a format allows a text, by the tokens that the tokenizer makes of it. */
async function allows({ tokenizer, grammars, end }: Vocabulary, format: Format, text: string): Promise<boolean> {
  const matcher = await grammars.matcher(format);
  const ids = [...tokenizer.encodeParts([text]), end];
  const taken = ids.every((id) => matcher.accept(id));
  matcher.dispose();
  return taken;
}

let nano: Vocabulary;
beforeAll(async () => {
  nano = await open("weights/nano");
});

describe("a JSON Schema as a grammar", () => {
  it("whatever is drawn of what may come is valid, by another library: random schemas", async () => {
    await fc.assert(
      fc.asyncProperty(schemas, fc.integer(), async (schema, seed) => {
        const text = await drawn(nano, json(schema), randomNumbers(seed));
        expect(errorsOf(schema, text), text).toEqual([]);
      }),
      { numRuns: inject("full") ? 500 : 12, seed: 20251, endOnFailure: true },
    );
  });

  it("allows what the schema allows, in json.dumps' form, and nothing else", async () => {
    const person = {
      type: "object",
      properties: { name: { type: "string" }, age: { type: "integer" } },
      required: ["name"],
      additionalProperties: { type: "boolean" },
    };
    const tree = { type: "object", properties: { left: { anyOf: [{ $ref: "#" }, { type: "null" }] } }, required: ["left"] };
    const cases: [schema: unknown, yes: string[], no: string[]][] = [
      [
        person,
        ['{"name": "a\\n\\"é\\u0001"}', '{"name": "", "age": -3}', '{"name": "", "b": true, "naming": false}'],
        ['{"age": 3}', '{"name": "x", "name": true}', '{"name": "x", "age": true}', '{"name":"x"}', '{"name": "\\u00e9"}'],
      ],
      [tree, ['{"left": {"left": null}}'], ["{}", '{"left": 3}']],
      [true, ['[1, {"a": "b"}, null, true, -1.5e3]'], ["[1,2]", "nul", ""]],
      [{ type: "object" }, ["{}", '{"a": [], "a": 2}'], ["[]"]],
      [{ minimum: 3, maximum: 12, type: "integer" }, ["3", "9", "10", "12"], ["2", "13", "03", "1", "3.0"]],
      [{ type: "integer" }, ["0", "-1", "999999999999999"], ["-0", "1.0", "1e3", "9999999999999999"]],
      [{ type: "number", exclusiveMinimum: 0, maximum: 0.25 }, ["0.25", "0.001", "0.2", "0.249"], ["0", "0.0", "0.251", "1"]],
      [{ type: "number", minimum: -1.5, exclusiveMaximum: 10 }, ["-1.5", "-1.49", "9.999", "0.5", "0", "9"], ["-1.51", "10", "10.0", "-2"]],
      [{ type: "number", minimum: 1e-7, maximum: 2e-7 }, ["0.0000001", "0.00000015"], ["0", "0.0000003"]],
      [{ type: ["string", "null"], maxLength: 2 }, ['"ab"', '"😀é"', "null"], ['"abc"', "1"]],
      [{ type: "string", pattern: "b+" }, ['"abc"', '"b"'], ['"ac"']],
      [{ type: "string", pattern: '^"\\\\$' }, ['"\\"\\\\"'], ['""']],
      [{ enum: ["a", 1.5, null, { k: [true] }] }, ['"a"', "1.5", "null", '{"k": [true]}'], ['"b"', "1"]],
      [
        { type: "array", prefixItems: [{ type: "null" }, { const: 1 }], items: { type: "boolean" }, minItems: 1, maxItems: 3 },
        ["[null]", "[null, 1]", "[null, 1, true]"],
        ["[]", "[1]", "[null, true]", "[null, 1, true, true]"],
      ],
      [{ type: "array", maxItems: 0 }, ["[]"], ["[1]"]],
      [
        {
          oneOf: [
            { type: "object", properties: { k: { const: "a" } }, required: ["k"] },
            { type: "object", properties: { k: { const: "b" }, n: { type: "integer" } }, required: ["k", "n"] },
          ],
        },
        ['{"k": "a"}', '{"k": "b", "n": 1}'],
        ['{"k": "b"}'],
      ],
      [
        { type: "object", propertyNames: { type: "string" }, additionalProperties: { type: "integer" } },
        ['{"a": 1, "b": 2}'],
        ['{"a": "x"}'],
      ],
      [{ $ref: "#/$defs/a~1b", $defs: { "a/b": { type: "null" } } }, ["null"], ["1"]],
    ];
    for (const [schema, yes, no] of cases) {
      for (const text of yes) expect(await allows(nano, json(schema), text), `${JSON.stringify(schema)}: ${text}`).toBe(true);
      for (const text of no) expect(await allows(nano, json(schema), text), `${JSON.stringify(schema)}: ${text}`).toBe(false);
    }
  });

  it("a number's bounds are those of the schema, at every edge", async () => {
    const edges = [0, 0.5, 1, 1.5, 9, 9.99, 10, 10.01, 99.5, 100, 123.456];
    const bound = fc.tuple(fc.constantFrom(...edges), fc.boolean()).map(([edge, negative]) => (negative && edge > 0 ? -edge : edge));
    await fc.assert(
      fc.asyncProperty(bound, bound, fc.boolean(), fc.boolean(), fc.boolean(), async (a, b, openLow, openHigh, integer) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        const schema = {
          type: integer ? "integer" : "number",
          [openLow ? "exclusiveMinimum" : "minimum"]: low,
          [openHigh ? "exclusiveMaximum" : "maximum"]: high,
        };
        let grammar: Format | undefined = json(schema);
        try {
          grammarOf(grammar);
        } catch {
          grammar = undefined; // then there is none
        }
        const valid = validatorOf(schema);
        for (const value of [...edges, 0.25, 1.49, 9.995, 42, 150].flatMap((each) => (each > 0 ? [each, -each] : [each]))) {
          const text = String(value);
          const inside = valid(value);
          expect(grammar !== undefined && (await allows(nano, grammar, text)), `${JSON.stringify(schema)}: ${text}`).toBe(inside);
        }
      }),
      { numRuns: 12, seed: 7, endOnFailure: true },
    );
  });

  it.each([
    [{ type: "object", patternProperties: {} }, "patternProperties"],
    [{ type: "object", minProperties: 1 }, "minProperties"],
    [{ type: "object", maxProperties: 1 }, "maxProperties"],
    [{ type: "object", propertyNames: { pattern: "a" } }, "propertyNames"],
    [{ type: "object", dependentRequired: {} }, "dependentRequired"],
    [{ type: "object", unevaluatedProperties: false }, "unevaluatedProperties"],
    [{ type: "array", contains: {} }, "contains"],
    [{ type: "array", uniqueItems: true }, "uniqueItems"],
    [{ type: "array", uniqueItems: "yes" }, 'uniqueItems "yes", needs true or false'],
    [{ type: "array", items: [{}] }, "items that are a list"],
    [{ type: "integer", multipleOf: 3 }, "multipleOf"],
    [{ type: "string", contentEncoding: "base64" }, "contentEncoding"],
    [{ type: "string", format: "idn-email" }, "idn-email"],
    [{ type: "string", pattern: "a", minLength: 3 }, "pattern beside a length"],
    [{ type: "string", pattern: "(?=a)" }, "looks ahead"],
    [{ type: "string", pattern: "(a)\\1" }, "reference back"],
    [{ type: "string", pattern: "(" }, "is not a regular|is not a"],
    [{ type: "string", minLength: 3, maxLength: 2 }, "over maxLength"],
    [{ type: "string", minLength: "3" }, "minLength"],
    [{ type: "integer", minimum: 5, maximum: 4 }, "allows no number"],
    [{ type: "integer", minimum: "5" }, "minimum"],
    [{ not: {} }, '"not"'],
    [{ if: {} }, '"if"'],
    [{ allOf: [{ pattern: "a" }, { pattern: "b" }] }, "allOf whose schemas both have pattern"],
    [{ allOf: [{ prefixItems: [true] }, { items: { type: "null" } }] }, "allOf whose schemas both have items"],
    [{ allOf: [{ type: "string" }, { type: "null" }] }, "type an empty list"],
    [{ allOf: [{ enum: [1] }, { enum: [2] }] }, "enum"],
    [{ allOf: [{ enum: [1] }, { minimum: 0 }] }, "enum beside minimum"],
    [{ properties: { a: { allOf: [{ $ref: "#" }, { required: ["a"] }] } } }, "nested more than"],
    [{ allOf: [] }, "allOf"],
    [{ allOf: [{ $ref: "#" }] }, "no value that ends"],
    [{ type: "integer", multipleOf: 0 }, "multipleOf 0"],
    [{ type: "integer", multipleOf: 7, minimum: 1, maximum: 6 }, "allows no number"],
    [{ type: "number", multipleOf: 3, minimum: 0, maximum: 1e6 }, "multipleOf 3"],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "both allow|may both"],
    [{ anyOf: [], type: "string" }, "anyOf"],
    [{ anyOf: [{ type: "string" }], minLength: 3 }, "beside minLength"],
    [{ enum: ["a"], minLength: 3 }, "beside minLength"],
    [{ enum: [] }, "enum"],
    [{ type: "null", enum: [1] }, "of its type"],
    [{ $ref: "#/$defs/a" }, "nowhere"],
    [{ $ref: "other.json" }, "place in the schema"],
    [{ $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } }, "no value that ends"],
    [{ type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }, "no value that ends"],
    [
      {
        type: "object",
        properties: { a: { anyOf: [{ type: "null" }, { $ref: "#/$defs/b" }] } },
        $defs: { b: { type: "array", minItems: 1, items: { $ref: "#/$defs/b" } } },
      },
      "no value that ends",
    ],
    [{ type: "object", required: ["a"], additionalProperties: false }, "requires"],
    [{ type: "objekt" }, "type"],
    [{ properties: { a: false } }, "false"],
    [{ properties: { a: { nullable: true } } }, "nullable"],
    ["text", "schema"],
  ] as [unknown, string][])("refuses %j by name: %s", (schema, word) => {
    const failed = (() => {
      try {
        return grammarOf(json(schema));
      } catch (error) {
        return error;
      }
    })();
    expect(failed).toMatchObject({ code: "bad-input", param: "schema", message: expect.stringMatching(new RegExp(word)) });
  });

  it("keywords of a wrong type are refused by name, also of types that the schema has not", () => {
    const wrong: Record<string, unknown[]> = {
      ...Object.fromEntries(["minLength", "maxLength", "minItems", "maxItems"].map((key) => [key, ["1", null, [], {}, true]])),
      ...Object.fromEntries(
        ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"].map((key) => [key, ["x", null, [1], true]]),
      ),
      ...Object.fromEntries(["pattern", "format"].map((key) => [key, [5, null, ["a"], {}]])),
      ...Object.fromEntries(["items", "additionalProperties", "propertyNames"].map((key) => [key, ["x", null, 5]])),
      prefixItems: ["x", null, {}, true],
      properties: ["x", null, [], true],
      required: ["a", null, [1], {}],
      uniqueItems: ["yes", null, 1],
    };
    for (const type of ["string", "number", "integer", "boolean", "null", "array", "object"]) {
      for (const [key, values] of Object.entries(wrong)) {
        for (const value of values) {
          const refused = new RegExp(`^schema at #/properties/a has ${key} .*, needs `);
          expect(() => grammarOf(json({ type: "object", properties: { a: { type, [key]: value } } })), `${type} ${key} ${value}`).toThrow(
            refused,
          );
        }
      }
    }
  });

  it("a schema that is nested without end is refused, not a full stack", () => {
    let schema: object = { type: "null" };
    for (let i = 0; i < 3000; i++) schema = { type: "array", items: schema };
    expect(() => grammarOf(json(schema))).toThrow(/nested more than/);
  });
});

describe("a regular expression as a grammar", () => {
  it.each([
    [/a|bc/, ["a", "bc"], ["ab", "b", ""]],
    [/^[^a-c]+x?$/, ["d", "dx", "é"], ["a", ""]],
    [/(?:ab){2,3}?/, ["abab", "ababab"], ["ab", "abababab"]],
    [/(?<n>a)*b{2}/, ["bb", "aabb"], ["b"]],
    [/\d\D\w\W\s\S/, ["1aa- x"], ["11a- x"]],
    [/[\d\-x]\.[\]\\]/, ["-.]", "x.\\"], ["a.]"]],
    [/./u, ["😀", "a"], ["\n"]],
    [/./s, ["\n"], ["ab"]],
    [/\x41\u0042\u{43}\t\cA/u, ["ABC\t\u0001"], ["ABCt"]],
    [/|a/, ["", "a"], ["b"]],
    [/a$|^b/, ["a", "b"], ["ab"]],
  ] as [RegExp, string[], string[]][])("%s", async (expression, yes, no) => {
    for (const text of yes) expect(await allows(nano, regex(expression), text), text).toBe(true);
    for (const text of no) expect(await allows(nano, regex(expression), text), text).toBe(false);
    const whole = new RegExp(`^(?:${expression.source})$`, expression.flags);
    for (let seed = 0; seed < 10; seed++) expect(await drawn(nano, regex(expression), randomNumbers(seed))).toMatch(whole);
  });

  it.each([
    [/a/i, "flag i"],
    [/a/g, "flag g"],
    [/a/m, "flag m"],
    [/a/y, "flag y"],
    [/a\b/, "assertion"],
    [/(?!a)b/, "looks ahead"],
    [/(?<=a)b/, "looks ahead or back"],
    [/(a)\1/, "reference back"],
    [/\p{L}/u, "class"],
    [/a{1,99999}/, "repetition"],
    [/(a|^b)/, "anchor"],
    [/a$b/, "anchor"],
    [/😀/, "flag u"],
  ] as [RegExp, string][])("refuses %s", (expression, word) => {
    expect(() => grammarOf(regex(expression))).toThrow(new RegExp(word));
  });
});

describe("vocabularies", () => {
  const schema = {
    type: "object",
    properties: {
      größe: { type: "string", minLength: 2, maxLength: 12 },
      n: { type: "array", items: { type: "number", minimum: -2, maximum: 7.5 }, maxItems: 3 },
    },
    required: ["größe", "n"],
    additionalProperties: false,
  };
  it.each([
    ["Qwen2.5's byte-level BPE", "test/fixtures/tokenizer", 1],
    ["SentencePiece with bytes", "test/fixtures/sentencepiece", 5],
    ["SentencePiece with a dummy prefix", "test/fixtures/sentencepiece/dummy-prefix", 4],
  ])("%s: in its true bytes", async (_, folder, runs) => {
    const vocabulary = await open(folder);
    const { tokenizer, grammars, end } = vocabulary;
    for (let seed = 0; seed < runs; seed++) {
      const text = await drawn(vocabulary, json(schema), randomNumbers(seed));
      expect(errorsOf(schema, text), text).toEqual([]);
    }
    // Special tokens never come; the end does not come before the end.
    const matcher = await grammars.matcher(regex(/.*/s));
    const ids = idsOf(await matcher.mask());
    expect(ids).toContain(end);
    expect(ids.filter((id) => tokenizer.isSpecial(id))).toEqual([end]);
    const first = await grammars.matcher(json(schema));
    expect(idsOf(await first.mask())).not.toContain(end);
    matcher.dispose();
    first.dispose();
    await grammars.dispose();
  });
});
