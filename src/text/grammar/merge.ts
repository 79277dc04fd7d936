import { isRecord } from "../../options.ts";

type Schema = Record<string, unknown> | boolean;

/** Of two bounds the narrower one. */
const NARROWER: Readonly<Record<string, (a: number, b: number) => number>> = {
  minimum: Math.max,
  exclusiveMinimum: Math.max,
  minLength: Math.max,
  minItems: Math.max,
  maximum: Math.min,
  exclusiveMaximum: Math.min,
  maxLength: Math.min,
  maxItems: Math.min,
};

const listOf = (type: unknown): unknown[] => (Array.isArray(type) ? type : [type]);
const both = (a: unknown, b: unknown): unknown =>
  a === undefined || b === undefined || JSON.stringify(a) === JSON.stringify(b) ? (a ?? b) : { allOf: [a, b] };

/** Types that values of both may have: an integer is a number. */
function types(a: unknown, b: unknown): unknown[] {
  const [own, theirs] = [listOf(a), listOf(b)];
  const has = (list: unknown[], type: unknown) => list.includes(type) || (type === "integer" && list.includes("number"));
  return [...new Set([...own.filter((type) => has(theirs, type)), ...theirs.filter((type) => has(own, type))])];
}

/** Properties of two schemas: each is also what the other schema allows of those that it does not name. */
function properties(a: Record<string, unknown>, b: Record<string, unknown>): Record<string, unknown> {
  const { properties: own = {}, additionalProperties: more } = a as {
    properties?: Record<string, unknown>;
    additionalProperties?: unknown;
  };
  const { properties: theirs = {}, additionalProperties: others } = b as typeof a & { properties?: Record<string, unknown> };
  const merged: [string, unknown][] = [];
  for (const key of new Set([...Object.keys(own), ...Object.keys(theirs)])) {
    const [x, y] = [Object.hasOwn(own, key) ? own[key] : more, Object.hasOwn(theirs, key) ? theirs[key] : others];
    if (x !== false && y !== false) merged.push([key, both(x, y)]);
  }
  return Object.fromEntries(merged);
}

/**
 * One schema that allows what two allow: what `allOf` says. A choice in one of them is a choice of merged ones.
 *
 * @param follow gives the schema that a reference names
 * @returns the keyword that both have and that cannot be one, where there is such
 */
export function merge(a: Schema, b: Schema, follow: (schema: Schema) => Schema): { schema: Schema } | { key: string } {
  const [x, y] = [follow(a), follow(b)];
  if (x === true || y === true) return { schema: x === true ? y : x };
  if (x === false || y === false) return { schema: false };
  if (!isRecord(x) || !isRecord(y)) return { schema: isRecord(x) ? y : x }; // refused for what it is
  for (const key of ["anyOf", "oneOf"]) {
    const [from, other] = x[key] !== undefined ? [x, y] : [y, x];
    const { [key]: choices, ...rest } = from;
    if (Array.isArray(choices))
      return {
        schema: {
          [key]: choices.map((each) => ({ allOf: [rest, each, other].filter((part) => part === each || Object.keys(part).length > 0) })),
        },
      };
  }
  // The items of one are those behind the first places of the other, and these too.
  if ((x.prefixItems === undefined) !== (y.prefixItems === undefined) && (x.items ?? y.items) !== undefined) return { key: "items" };
  const merged: Record<string, unknown> = { ...x, ...y };
  for (const key of Object.keys(x)) {
    const [own, theirs] = [x[key], y[key]];
    if (theirs === undefined || own === undefined || JSON.stringify(own) === JSON.stringify(theirs)) merged[key] = own ?? theirs;
    else if (key === "type") merged.type = types(own, theirs);
    else if (NARROWER[key] && typeof own === "number" && typeof theirs === "number") merged[key] = NARROWER[key](own, theirs);
    else if (key === "required") merged.required = [...new Set([...listOf(own), ...listOf(theirs)])];
    else if (key === "items" || key === "additionalProperties") merged[key] = own === false || theirs === false ? false : both(own, theirs);
    else if (key === "enum")
      merged.enum = listOf(own).filter((value) => listOf(theirs).some((each) => JSON.stringify(each) === JSON.stringify(value)));
    else if (key !== "properties") return { key };
  }
  if (x.properties !== undefined || y.properties !== undefined) merged.properties = properties(x, y);
  return { schema: merged };
}
