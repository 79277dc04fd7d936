import { EngineError } from "../../errors.ts";
import { described, isRecord, quoted } from "../../options.ts";
import { merge } from "./merge.ts";

type Schema = Record<string, unknown> | boolean;
type Node = Record<string, unknown>;

/** What a schema says, once what it cannot say was refused. */
type Read =
  | { kind: "any" }
  | { kind: "reference"; to: string; schema: Schema }
  | { kind: "values"; values: readonly unknown[] }
  | { kind: "alternatives"; schemas: readonly Schema[]; at: string }
  | { kind: "types"; types: readonly string[]; schema: Node };

/** Keywords that a text need not obey. */
const SAID = [
  "$schema",
  "$id",
  "$comment",
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$defs",
  "definitions",
];
/** Keywords of each type. */
const OF: Readonly<Record<string, readonly string[]>> = {
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  integer: [],
  boolean: [],
  null: [],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
  object: ["properties", "required", "additionalProperties", "propertyNames"],
};
const TYPES = Object.keys(OF);
const CHOICES = ["anyOf", "oneOf"] as const;
const KNOWN = new Set([...SAID, ...Object.values(OF).flat(), ...CHOICES, "allOf", "$ref", "type", "enum", "const"]);
const MOST_DEPTH = 200;

const isSchema = (value: unknown): boolean => typeof value === "boolean" || isRecord(value) || Array.isArray(value); // a list is refused as such
const isNumber = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value);
/** What keywords need, whether or not the schema has the type that they are about. */
const NEEDS: readonly (readonly [keys: readonly string[], needs: string, fits: (value: unknown) => boolean])[] = [
  [["minLength", "maxLength", "minItems", "maxItems", ...OF.number!], "a number", isNumber],
  [["pattern", "format"], "a text", (value) => typeof value === "string"],
  [["uniqueItems"], "true or false", (value) => typeof value === "boolean"],
  [["items", "additionalProperties", "propertyNames"], "a schema: an object, or true or false", isSchema],
  [["prefixItems"], "a list of schemas", Array.isArray],
  [["properties"], "an object of schemas", isRecord],
  [["required"], "a list of names", (value) => Array.isArray(value) && value.every((key) => typeof key === "string")],
];

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

const isType = (value: unknown, type: string): boolean => type === typeOf(value) || (type === "number" && typeof value === "number");

/** Whether values of two types can be equal. */
const meet = (a: string, b: string): boolean => a === b || (/^(number|integer)$/.test(a) && /^(number|integer)$/.test(b));

/** Reads the parts of one JSON Schema (2020-12, and draft 7 as far as they agree) and refuses by name what cannot be enforced. */
export class SchemaReader {
  readonly #root: Schema;
  readonly #name: string;
  readonly #checked = new Set<string>(); // references

  /** @param name how the caller calls it */
  constructor(root: Schema, name: string) {
    this.#root = root;
    this.#name = name;
  }

  /** How a part is called: the caller's name, and where the part stands in the schema. */
  place(at: string): string {
    return at === "#" ? this.#name : `${this.#name} at ${at.length > 120 ? `${at.slice(0, 120)}…` : at}`;
  }

  refuse(at: string, what: string, hint?: string): EngineError {
    return new EngineError("bad-input", `${this.place(at)} ${what}`, { hint, param: this.#name });
  }

  /** @throws EngineError bad-input */
  node(schema: Schema, at: string): Read {
    if (at.split("/").length > MOST_DEPTH) throw this.refuse("#", `is nested more than ${MOST_DEPTH} deep`);
    if (schema === true) return { kind: "any" };
    if (schema === false) throw this.refuse(at, "is false, which nothing obeys");
    if (!isRecord(schema)) throw this.refuse(at, `is ${described(schema)}, needs a schema: an object, or true`);
    const keys = Object.keys(schema).filter((key) => !SAID.includes(key) && schema[key] !== undefined);
    const unknown = keys.find((key) => !KNOWN.has(key));
    const unenforced = (what: string, hint?: string) =>
      this.refuse(at, `has ${what}, which cannot be enforced while text is generated`, hint);
    if (unknown !== undefined) throw unenforced(quoted(unknown), "leave it out, or check the answer for it");
    for (const [names, needs, fits] of NEEDS) {
      const key = names.find((each) => schema[each] !== undefined && !fits(schema[each]));
      if (key !== undefined) throw this.refuse(at, `has ${key} ${described(schema[key])}, needs ${needs}`);
    }
    if (schema.propertyNames !== undefined && JSON.stringify(schema.propertyNames) !== '{"type":"string"}')
      throw unenforced("propertyNames");
    if (schema.uniqueItems === true) throw unenforced("uniqueItems");
    const alone = (key: string, but: readonly string[] = []) => {
      const beside = keys.find((each) => each !== key && !but.includes(each));
      if (beside !== undefined) throw this.refuse(at, `has ${key} beside ${beside}: one of them can be enforced`);
    };
    if (keys.length === 0) return { kind: "any" };
    if (schema.allOf !== undefined) return this.#merged(schema, keys, at);
    if (schema.$ref !== undefined) {
      alone("$ref");
      const { to, target } = this.#resolve(schema.$ref, at);
      // A value of it must be able to end.
      if (!this.#checked.has(to)) {
        this.#checked.add(to);
        if (!this.#ends(target, to, [to])) throw this.refuse(to, "allows no value that ends: it has to hold itself");
      }
      return { kind: "reference", to, schema: target };
    }
    const types = this.#stated(schema, at);
    for (const key of ["const", "enum"] as const) {
      if (!Object.hasOwn(schema, key) || schema[key] === undefined) continue;
      alone(key, ["type"]);
      const given = key === "const" ? [schema.const] : schema.enum;
      if (!Array.isArray(given) || given.length === 0) throw this.refuse(at, `has enum ${described(given)}, needs a list of values`);
      const values = given.filter((value) => !types || types.some((type) => isType(value, type)));
      if (values.length === 0) throw this.refuse(at, `has no value in ${key} that is of its type`);
      return { kind: "values", values };
    }
    for (const key of CHOICES) if (schema[key] !== undefined) return this.#choice(schema, key, types, at, alone);
    return { kind: "types", types: types ?? TYPES.filter((type) => OF[type]!.some((key) => keys.includes(key))), schema };
  }

  /** What `allOf` says as one schema. */
  #merged({ allOf, ...schema }: Node, keys: readonly string[], at: string): Read {
    if (!Array.isArray(allOf) || allOf.length === 0) throw this.refuse(at, `has allOf ${described(allOf)}, needs a list of schemas`);
    if (keys.length === 1 && allOf.length === 1) return this.node(allOf[0] as Schema, `${at}/allOf/0`);
    const own = Object.fromEntries(keys.filter((key) => key !== "allOf").map((key) => [key, schema[key]]));
    const follow = (each: Schema): Schema => {
      let target = each;
      for (let i = 0; isRecord(target) && target.$ref !== undefined; i++) {
        if (i > MOST_DEPTH) throw this.refuse(at, "allows no value that ends: it has to hold itself");
        const { $ref, ...rest } = Object.fromEntries(Object.entries(target).filter(([key]) => !SAID.includes(key))) as Node;
        if (Object.keys(rest).length > 0) throw this.refuse(at, `has $ref beside ${Object.keys(rest)[0]}: one of them can be enforced`);
        target = this.#resolve($ref, at).target;
      }
      return isRecord(target) ? Object.fromEntries(Object.entries(target).filter(([key]) => !SAID.includes(key))) : target;
    };
    let one: Schema = Object.keys(own).length > 0 ? own : true;
    for (const each of allOf as Schema[]) {
      const merged = merge(one, each, follow);
      if ("key" in merged)
        throw this.refuse(at, `has allOf whose schemas both have ${merged.key}, which cannot be enforced together`, "write them as one");
      one = merged.schema;
    }
    return this.node(one, `${at}/allOf`);
  }

  #choice(
    schema: Node,
    key: (typeof CHOICES)[number],
    types: readonly string[] | undefined,
    at: string,
    alone: (key: string, but?: readonly string[]) => void,
  ): Read {
    alone(key, ["type"]);
    const schemas = schema[key] as Schema[];
    if (!Array.isArray(schemas) || schemas.length === 0) throw this.refuse(at, `has ${key} ${described(schemas)}, needs a list of schemas`);
    const within = (each: Schema, i: number) =>
      types === undefined ||
      this.#typesOf(each, `${at}/${key}/${i}`, []).every((type) =>
        types.some((own) => own === type || (own === "number" && type === "integer")),
      );
    if (!schemas.every(within)) throw this.refuse(at, `has ${key} beside type, and types in it that this does not have`);
    if (key === "oneOf") {
      const hint = "write anyOf, or give each a property with a const of its own";
      for (const [i, a] of schemas.entries()) {
        const j = schemas.findIndex((b, j) => i < j && !this.#apart(a, b, `${at}/oneOf`));
        if (j >= 0) throw this.refuse(at, `has oneOf whose schemas ${i + 1} and ${j + 1} may both allow a value`, hint);
      }
    }
    return { kind: "alternatives", schemas, at: `${at}/${key}` };
  }

  /** The types that a schema names. */
  #stated(schema: Node, at: string): readonly string[] | undefined {
    const { type } = schema;
    if (type === undefined) return undefined;
    const types = Array.isArray(type) ? type : [type];
    const wrong = types.find((each) => !TYPES.includes(each as string));
    if (types.length === 0 || wrong !== undefined) throw this.refuse(at, `has type ${described(wrong ?? type)}, needs ${TYPES.join(", ")}`);
    return types.includes("number") ? types.filter((each) => each !== "integer") : types;
  }

  #resolve(ref: unknown, at: string): { to: string; target: Schema } {
    if (typeof ref !== "string" || !/^#(\/|$)/.test(ref))
      throw this.refuse(at, `has $ref ${described(ref)}, needs a place in the schema: #/$defs/…`);
    let target: unknown = this.#root;
    for (const part of decodeURIComponent(ref).split("/").slice(1)) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      target = (isRecord(target) || Array.isArray(target)) && Object.hasOwn(target, key) ? (target as Node)[key] : undefined;
    }
    if (target === undefined) throw this.refuse(at, `has $ref ${quoted(ref)}, which is nowhere`);
    return { to: ref, target: target as Schema };
  }

  /** The types that values may have; what it refers to again has no others. */
  #typesOf(schema: Schema, at: string, path: readonly string[]): readonly string[] {
    const read = this.node(schema, at);
    if (read.kind === "any") return TYPES;
    if (read.kind === "types") return read.types;
    if (read.kind === "values") return read.values.map(typeOf);
    if (read.kind === "reference") return path.includes(read.to) ? [] : this.#typesOf(read.schema, read.to, [...path, read.to]);
    return read.schemas.flatMap((each, i) => this.#typesOf(each, `${read.at}/${i}`, path));
  }

  /** Whether no value is of both schemas, as far as their types, values, or a required property of both tell. */
  #apart(a: Schema, b: Schema, at: string, depth = 0): boolean {
    const [left, right] = [a, b].map((each) => this.#typesOf(each, at, [])) as [string[], string[]];
    if (!left.some((type) => right.some((other) => meet(type, other)))) return true;
    const [x, y] = [a, b].map((each) => this.#followed(each, at));
    if (!x || !y || depth > MOST_DEPTH) return false;
    if (x.kind === "values" && y.kind === "values") {
      const texts = new Set(x.values.map((value) => JSON.stringify(value)));
      return !y.values.some((value) => texts.has(JSON.stringify(value)));
    }
    if (x.kind !== "types" || y.kind !== "types" || x.types.join() !== "object" || y.types.join() !== "object") return false;
    const [one, other] = [x, y].map(({ schema }) => this.object(schema, at));
    return one!.properties.some(([key, own]) => {
      const theirs = other!.properties.find(([each]) => each === key);
      return theirs && one!.required.has(key) && other!.required.has(key) && this.#apart(own, theirs[1], at, depth + 1);
    });
  }

  #followed(schema: Schema, at: string): Read | undefined {
    let read = this.node(schema, at);
    for (let i = 0; read.kind === "reference"; i++) {
      if (i > MOST_DEPTH) return undefined;
      read = this.node(read.schema, read.to);
    }
    return read;
  }

  /** Whether some value of the schema is finite. A smallest one needs no reference inside itself. */
  #ends(schema: Schema, at: string, path: readonly string[]): boolean {
    const read = this.node(schema, at);
    if (read.kind === "any" || read.kind === "values") return true;
    if (read.kind === "reference") return !path.includes(read.to) && this.#ends(read.schema, read.to, [...path, read.to]);
    if (read.kind === "alternatives") return read.schemas.some((each, i) => this.#ends(each, `${read.at}/${i}`, path));
    return read.types.some((type) => this.#typeEnds(type, read.schema, at, path));
  }

  #typeEnds(type: string, schema: Node, at: string, path: readonly string[]): boolean {
    if (type === "object") {
      const { properties, required } = this.object(schema, at);
      return properties.every(([key, each, where]) => !required.has(key) || this.#ends(each, where, path));
    }
    if (type !== "array") return true;
    const { least, prefix, items } = this.array(schema, at);
    const needed: [Schema, string][] = prefix.slice(0, least).map((each, i) => [each, `${at}/prefixItems/${i}`]);
    if (items !== undefined && least > prefix.length) needed.push([items, `${at}/items`]);
    return needed.every(([each, where]) => this.#ends(each, where, path));
  }

  #number(schema: Node, key: string): number | undefined {
    return schema[key] as number | undefined;
  }

  /** What a number has to be a multiple of. */
  step(schema: Node, at: string): number | undefined {
    const step = this.#number(schema, "multipleOf");
    if (step !== undefined && step <= 0) throw this.refuse(at, `has multipleOf ${step}, needs a number above 0`);
    return step;
  }

  /** The narrower of each two bounds. */
  bounds(schema: Node) {
    const bound = (with_: string, without: string, sign: number) => {
      const [closed, open] = [this.#number(schema, with_), this.#number(schema, without)];
      if (closed === undefined && open === undefined) return undefined;
      const excluded = open !== undefined && (closed === undefined || sign * open >= sign * closed);
      return { value: (excluded ? open : closed)!, excluded };
    };
    return { least: bound("minimum", "exclusiveMinimum", 1), most: bound("maximum", "exclusiveMaximum", -1) };
  }

  counts(schema: Node, least: string, most: string, at: string): [least: number, most: number | undefined] {
    const [low, high] = [least, most].map((key) => {
      const value = this.#number(schema, key);
      if (value !== undefined && !(Number.isInteger(value) && value >= 0))
        throw this.refuse(at, `has ${key} ${value}, needs an integer from 0`);
      return value;
    });
    if (low !== undefined && high !== undefined && low > high) throw this.refuse(at, `has ${least} ${low} over ${most} ${high}`);
    return [low ?? 0, high];
  }

  /** An array's items: those of the first places, and of all others; undefined: none. */
  array(schema: Node, at: string): { least: number; most: number | undefined; prefix: readonly Schema[]; items: Schema | undefined } {
    const [least, most] = this.counts(schema, "minItems", "maxItems", at);
    const { prefixItems = [], items: given } = schema as { prefixItems?: unknown[]; items?: unknown };
    if (Array.isArray(given)) throw this.refuse(at, "has items that are a list", "write prefixItems");
    const prefix = prefixItems.slice(0, most) as Schema[];
    // Nothing says what may follow: nothing has to.
    const items = (given ?? (prefix.length === 0 || least > prefix.length)) as Schema;
    if (items !== false) return { least, most, prefix, items };
    if (least > prefix.length) throw this.refuse(at, `has minItems ${least}, and allows no more than ${prefix.length} items`);
    return { least, most: prefix.length, prefix, items: undefined };
  }

  /** An object's properties in their order with what they may be, those that it must have, and what others may be. */
  object(
    schema: Node,
    at: string,
  ): { properties: readonly [key: string, schema: Schema, at: string][]; required: ReadonlySet<string>; more: Schema } {
    const {
      properties: own = {},
      required: needed = [],
      additionalProperties,
    } = schema as { [key: string]: unknown } & {
      properties?: Node;
      required?: string[];
    };
    const required = new Set(needed);
    const properties = Object.entries(own).map(([key, each]): [string, Schema, string] => [key, each as Schema, `${at}/properties/${key}`]);
    for (const key of required) {
      if (Object.hasOwn(own, key)) continue;
      if (additionalProperties === false) throw this.refuse(at, `requires ${quoted(key)}, which it does not allow`);
      properties.push([key, (additionalProperties ?? true) as Schema, `${at}/additionalProperties`]);
    }
    // Where nothing is said of others, an object with properties has no others: all that is generated is then what was asked for.
    return { properties, required, more: (additionalProperties ?? properties.length === 0) as Schema };
  }
}
