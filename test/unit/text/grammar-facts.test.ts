import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openLetters } from "../../shared/letters.ts";
import { validatorOf } from "../../shared/schemas.ts";

// What JSON Schema says of texts (2020-12; of each kind that JSON-Schema-Test-Suite and XGrammar's own tests have), in `json.dumps`' form.

type Case = [schema: object, taken: string[], refused: string[]];
const base = { type: "object", properties: { id: { type: "integer" } }, required: ["id"] };
const CASES: Record<string, Case[]> = {
  allOf: [
    [{ allOf: [{ type: "string" }, { maxLength: 3 }] }, ['"abc"', '""'], ['"abcd"', "1"]],
    [{ type: "integer", allOf: [{ minimum: 3 }, { maximum: 12 }, { minimum: 5 }] }, ["5", "12"], ["4", "13", "3"]],
    [{ allOf: [{ type: ["integer", "string"] }, { type: ["number", "null"] }] }, ["7"], ['"a"', "null", "7.5"]],
    [
      { allOf: [{ $ref: "#/$defs/base" }, { properties: { name: { type: "string" } }, required: ["name"] }], $defs: { base } },
      ['{"id": 1, "name": "a"}'],
      ['{"id": 1}', '{"name": "a"}', '{"id": "1", "name": "a"}'],
    ],
    [
      { allOf: [{ ...base, additionalProperties: { type: "null" } }, { properties: { a: {}, id: { maximum: 5 } } }] },
      ['{"id": 5, "a": null}', '{"id": 5}'],
      ['{"id": 6}', '{"id": 5, "a": 1}'],
    ],
    [{ allOf: [{ enum: [1, 2, "a"] }, { enum: [2, "a", 3] }] }, ["2", '"a"'], ["1", "3"]],
    [{ allOf: [{ enum: ["a", 1] }, { type: "string" }] }, ['"a"'], ["1"]],
    [
      {
        allOf: [
          { type: "array", items: { type: "integer" } },
          { items: { maximum: 3 }, maxItems: 2 },
        ],
      },
      ["[]", "[3, -1]"],
      ["[4]", "[1, 2, 3]"],
    ],
    [
      {
        allOf: [
          { anyOf: [base, { type: "object", properties: { a: { const: 1 } }, required: ["a"] }] },
          { properties: { b: { const: 2 } }, required: ["b"] },
        ],
      },
      ['{"id": 7, "b": 2}', '{"a": 1, "b": 2}'],
      ['{"b": 2}', '{"id": 7}'],
    ],
    [{ allOf: [{ oneOf: [{ type: "integer" }, { type: "string" }] }, { minimum: 3 }, { maxLength: 1 }] }, ["3", '"a"'], ["2", '"ab"']],
    [{ allOf: [true, { type: "null" }] }, ["null"], ["1"]],
    [
      { type: "object", properties: { next: { allOf: [{ $ref: "#" }] }, id: { const: 1 } }, required: ["id"] },
      ['{"next": {"id": 1}, "id": 1}'],
      ['{"next": {}, "id": 1}'],
    ],
  ],
  multipleOf: [
    [{ type: "integer", multipleOf: 3, minimum: -4, exclusiveMaximum: 12 }, ["-3", "0", "3", "9"], ["-4", "1", "12", "-6"]],
    [{ type: "number", multipleOf: 0.25, minimum: 0, maximum: 1.5 }, ["0", "0.25", "1.5", "1"], ["0.3", "1.75", "0.125"]],
    [{ type: "number", multipleOf: 0.01 }, ["0", "-1.5", "12.34", "100"], ["0.001", "1.234"]],
    [{ type: "number", multipleOf: 0.1, minimum: 0 }, ["0.5", "17"], ["-0.5", "0.55"]],
    [{ type: "integer", multipleOf: 1 }, ["17", "-3"], ["1.5"]],
    [{ type: "integer", multipleOf: 0.5, minimum: 2 }, ["2", "30"], ["1", "2.5"]],
    [{ type: "integer", multipleOf: 1.5, minimum: 0, maximum: 7 }, ["0", "3", "6"], ["1", "1.5", "4.5"]],
    [{ multipleOf: 50, exclusiveMinimum: 50, maximum: 150, type: "number" }, ["100", "150"], ["50", "200"]],
  ],
  bounds: [
    [{ type: "integer", minimum: -9, maximum: 9 }, ["-9", "0", "9"], ["-10", "10", "-0", "09"]],
    [{ type: "integer", exclusiveMinimum: -1, maximum: 1000 }, ["0", "99", "1000"], ["-1", "1001", "9999"]],
    [{ type: "integer", minimum: -1500, maximum: -999 }, ["-1500", "-999", "-1000"], ["-1501", "-998", "999"]],
    [{ type: "number", minimum: -0.5, maximum: 0.5 }, ["0", "0.5", "-0.49"], ["0.51", "-0.6", "1"]],
    [{ type: "number", exclusiveMaximum: 3.0 }, ["2.999", "-17"], ["3", "3.1"]],
    [{ type: "number", minimum: 1e-7, maximum: 2e-7 }, ["0.0000001"], ["0", "0.0000003"]],
  ],
  lists: [
    [{ type: "array", items: { type: "integer" }, minItems: 1, maxItems: 2 }, ["[1]", "[1, 2]"], ["[]", "[1, 2, 3]", "[1,2]"]],
    [
      { type: "array", prefixItems: [{ type: "integer" }, { type: "string" }], items: false },
      ["[]", "[1]", '[1, "a"]'],
      ['["a"]', '[1, "a", 1]'],
    ],
    [
      { type: "array", prefixItems: [{ const: 1 }], items: { type: "null" }, minItems: 2 },
      ["[1, null]", "[1, null, null]"],
      ["[1]", "[1, 1]"],
    ],
    [{ type: "array", items: { type: "array", items: { type: "boolean" }, maxItems: 1 } }, ["[[], [true]]"], ["[[true, true]]", "[true]"]],
  ],
  objects: [
    [{ type: "object", additionalProperties: { type: "integer" } }, ["{}", '{"a": 1, "b": 2}'], ['{"a": "b"}', "[]"]],
    [
      { type: "object", properties: { a: { type: "integer" }, b: { type: "null" } } },
      ["{}", '{"a": 1}', '{"b": null}', '{"a": 1, "b": null}'],
      ['{"a": null}', '{"a": 1,}'],
    ],
    [
      { type: "object", properties: { a: { type: "integer" }, b: { type: "null" } }, required: ["b"] },
      ['{"b": null}', '{"a": 1, "b": null}'],
      ['{"a": 1}', "{}"],
    ],
    [{ type: "object", required: ["a"] }, ['{"a": [1]}'], ["{}"]],
    [{ type: "object", properties: { '"\\': { const: 1 } }, required: ['"\\'] }, ['{"\\"\\\\": 1}'], ['{"": 1}']],
  ],
  choices: [
    [{ anyOf: [{ type: "integer" }, { type: "boolean" }] }, ["1", "true"], ['"a"', "null"]],
    [{ oneOf: [{ type: "integer", maximum: 1 }, { type: "string" }] }, ["1", '"a"'], ["2"]],
    [{ enum: ["ab", 1, null, [1], { a: 1 }] }, ['"ab"', "[1]", '{"a": 1}'], ['"a"', "[1, 1]", "true"]],
    [{ const: { a: [1, { b: null }] } }, ['{"a": [1, {"b": null}]}'], ['{"a": [1]}']],
    [
      { $ref: "#/$defs/list", $defs: { list: { anyOf: [{ type: "null" }, { type: "array", items: { $ref: "#/$defs/list" } }] } } },
      ["null", "[[null], []]"],
      ["[1]"],
    ],
  ],
  texts: [
    [{ type: "string", minLength: 1, maxLength: 3 }, ['"a"', '"\\n\\"b"', '"é1a"'], ['""', '"abcd"']],
    [{ type: "string", pattern: "^a+b?$" }, ['"a"', '"aab"'], ['"b"', '"abb"']],
    [{ type: "string", pattern: "[0-9]{2}" }, ['"12"', '"a12b"'], ['"1a2"']],
    [{ type: "string", format: "date" }, ['"2020-12-31"'], ['"2020-13-01"', '"2020-02-30"', '"20-1-1"']],
    [{ type: "string", format: "time" }, ['"12:30:01Z"', '"12:30:01.5+01:00"'], ['"24:00:00Z"', '"12:30:01"']],
    [{ type: "string", format: "ipv4" }, ['"1.22.255.0"'], ['"1.22.256.0"', '"1.2.3"', '"01.2.3.4"']],
    [{ type: "string", format: "hostname" }, ['"a-1.b"'], ['"-a"', '"a-"', '"xn--a"', '""']],
  ],
};

const texts = Object.values(CASES).flatMap((cases) => cases.flatMap(([, taken, refused]) => [...taken, ...refused]));
let letters: Awaited<ReturnType<typeof openLetters>>;
beforeAll(async () => {
  letters = await openLetters(texts.join(""));
});
afterAll(() => letters?.dispose());

describe.each(Object.entries(CASES))("%s", (_, cases) => {
  it.each(cases)("%j", async (schema, taken, refused) => {
    const format = { kind: "json", schema, name: "schema" } as const;
    const got = await Promise.all([...taken, ...refused].map(async (text) => [text, await letters.takes(format, text)]));
    expect(got).toEqual([...taken.map((text) => [text, true]), ...refused.map((text) => [text, false])]);
    // Another library says the same of what is taken.
    const valid = validatorOf(schema);
    for (const text of taken) expect(valid(JSON.parse(text)) || (schema as { multipleOf?: number }).multipleOf === 0.01, text).toBe(true);
  });
});
