import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";

type Schema = Record<string, unknown>;

const name = fc.constantFrom("a", "b", "name", "größe", 'q"uo\\te', "x y", "名", "an", "");
const text = fc.oneof(
  fc.record({ maxLength: fc.integer({ min: 0, max: 6 }) }),
  fc
    .integer({ min: 0, max: 4 })
    .chain((minLength) => fc.record({ minLength: fc.constant(minLength), maxLength: fc.integer({ min: minLength, max: 7 }) })),
  fc.record({
    pattern: fc.constantFrom(
      "^[a-c]{2,4}$",
      "^\\d{3}-\\w$",
      "^(yes|no|größer)$",
      '^["\\\\]x?$',
      "^.{1,3}$",
      '^[^\\s"]{0,3}!$',
      "^\\u{1F600}?[\\n\\t]$",
      "^a$|^[0-9]b$",
    ),
  }),
  fc.record({ format: fc.constantFrom("date", "time", "date-time", "uuid", "ipv4") }),
);
const bounds = (integer: boolean) =>
  fc
    .tuple(
      fc.integer({ min: -2500, max: 2500 }),
      fc.integer({ min: 2, max: 3000 }),
      fc.constantFrom(1, 10, 100, 1000),
      fc.boolean(),
      fc.boolean(),
      fc.constantFrom("both", "low", "high"),
    )
    .map(([low, width, scale, openLow, openHigh, which]) => {
      const by = integer ? 1 : scale;
      return {
        ...(which === "high" ? {} : { [openLow ? "exclusiveMinimum" : "minimum"]: low / by }),
        ...(which === "low" ? {} : { [openHigh ? "exclusiveMaximum" : "maximum"]: (low + width) / by }),
      };
    });
const leaf: fc.Arbitrary<Schema> = fc.oneof(
  text.map((more) => ({ type: "string", ...more })),
  bounds(true).map((more) => ({ type: "integer", ...more })),
  bounds(false).map((more) => ({ type: "number", ...more })),
  fc.constantFrom<Schema>({ type: "boolean" }, { type: "null" }, { type: "integer" }, { type: "number" }, { type: ["boolean", "null"] }),
  fc
    .array(fc.oneof(fc.string({ maxLength: 6, unit: "grapheme" }), fc.integer(), fc.constantFrom(null, true, 1.5, { a: [1] })), {
      minLength: 1,
      maxLength: 4,
    })
    .map((values) => ({ enum: values })),
  fc.constantFrom<Schema>({ const: "just this" }, { const: -1e-7 }, { type: "string", enum: ["é", "\n", 3] }),
  fc.constantFrom<Schema>({ $ref: "#/$defs/pair" }, { $ref: "#/$defs/word" }),
);

function nodes(depth: number): fc.Arbitrary<Schema> {
  if (depth === 0) return leaf;
  const inner = nodes(depth - 1);
  const object = fc
    .tuple(
      fc.uniqueArray(fc.tuple(name, inner), { maxLength: 4, selector: ([key]) => key }),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      fc.constantFrom<unknown>(undefined, false),
    )
    .map(([properties, needed, additionalProperties]) => ({
      type: "object",
      properties: Object.fromEntries(properties),
      required: properties.flatMap(([key], i) => (needed[i] ? [key] : [])),
      // Without properties any object would do, as long as a model likes.
      ...(properties.length === 0 || additionalProperties === false ? { additionalProperties: false } : {}),
    }));
  const array = fc
    .tuple(inner, fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 }))
    .map(([items, minItems, more]) => ({ type: "array", items, minItems, maxItems: minItems + more }));
  const tuple = fc
    .array(inner, { minLength: 1, maxLength: 3 })
    .map((prefixItems) => ({ type: "array", prefixItems, items: false, minItems: 1 }));
  const union = fc.array(inner, { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf: [...anyOf, { type: "null" }] }));
  return fc.oneof({ weight: 1, arbitrary: leaf }, { weight: 3, arbitrary: object }, { weight: 2, arbitrary: array }, tuple, union);
}

/** JSON Schemas all of whose values are short: an answer to each ends. */
export const schemas: fc.Arbitrary<Schema> = nodes(3).map((schema) => ({
  ...schema,
  $defs: {
    pair: { type: "array", items: { $ref: "#/$defs/word" }, minItems: 2, maxItems: 2 },
    word: { type: "string", minLength: 1, maxLength: 3 },
  },
}));

const FORMATS: Readonly<Record<string, RegExp>> = {
  date: /^\d{4}-\d\d-\d\d$/,
  time: /^\d\d:\d\d:\d\d/,
  "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/,
  uuid: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/,
  ipv4: /^\d+\.\d+\.\d+\.\d+$/,
};

/** What another library says of values. */
export const validatorOf = (schema: object) => new Ajv2020({ strict: false, allErrors: true, formats: FORMATS }).compile(schema);

/** The errors that it finds in a text. */
export function errorsOf(schema: object, text: string): string[] {
  const validate = validatorOf(schema);
  return validate(JSON.parse(text)) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}
