import { EngineError } from "../../errors.ts";
import { quoted } from "../../options.ts";
import { pythonJson } from "../python-json.ts";
import {
  type AddRule,
  ALL,
  both,
  characterOf,
  either,
  inJson,
  literal,
  one,
  PLAIN,
  plain,
  RULES,
  repeated,
  without,
} from "./characters.ts";
import { FORMATS } from "./formats.ts";
import { type Bounds, MOST_MULTIPLES, multiplesGrammar, numberGrammar } from "./numbers.ts";
import { regexGrammar } from "./regex.ts";
import { SchemaReader } from "./schema-reader.ts";
import { MOST_WORK, workOf } from "./work.ts";

/** A schema as a caller gives it; `true` is any JSON. */
type Schema = Record<string, unknown> | boolean;

const CHARACTER = "character";
/** Of a string, with its end. Of a rule that goes on in itself and has characters of its own, XGrammar has the masks ready: of `character*` it looks at each id anew. */
const REST = "rest";
const ANY = "any";
const FREE = "object"; // any object
const LEAST = `${RULES}
${CHARACTER} ::= ${characterOf(ALL)}
${REST} ::= "\\"" | ${characterOf(ALL)} ${REST}
${ANY} ::= ${FREE} | array | "\\"" ${REST} | ${numberGrammar({}, false)} | "true" | "false" | "null"
${FREE} ::= "{" ("\\"" ${REST} ": " ${ANY} (", \\"" ${REST} ": " ${ANY})*)? "}"
array ::= "[" (${ANY} (", " ${ANY})*)? "]"`;

/** A pattern as the flag u has it, which takes no backslash before what needs none: Python writes \- and \" so. */
const plainEscapes = (source: string): string =>
  source.replace(/\\(.)/gs, (all, letter: string) =>
    /[ "'#%&,:;<=>@!`~_-]/.test(letter) ? `\\x${letter.charCodeAt(0).toString(16)}` : all,
  );

const MOST_BEGINNINGS = 16; // of names that others share: XGrammar looks at all of a vocabulary for each, a fifth of a second for Qwen's

/** How many letters of their beginnings other names may share with these: all where that is quick to compile. */
function sharedLetters(names: readonly string[]): number {
  const begun = new Set<string>();
  for (let length = 1; ; length++) {
    const longer = names.filter((name) => name.length >= length);
    for (const name of longer) begun.add(name.slice(0, length));
    if (longer.length === 0) return length;
    if (begun.size > MOST_BEGINNINGS) return length - 1;
  }
}

/** Texts that are not these names, as they stand in a JSON string, with its end. None begins with more letters of one than `shared`. */
function otherThan(names: readonly string[], shared = sharedLetters(names)): string {
  const ways: string[] = names.includes("") ? [] : ['"\\""'];
  const firsts = new Map<number, string[]>();
  for (const name of names) {
    const code = name.codePointAt(0);
    if (code === undefined) continue;
    const rest = name.slice(code > 0xffff ? 2 : 1);
    firsts.set(code, [...(firsts.get(code) ?? []), rest]);
  }
  if (shared > 0) for (const [code, rests] of firsts) ways.push(`${characterOf(one(code))} ${otherThan(rests, shared - 1)}`);
  const others = without(
    ALL,
    [...firsts.keys()].map((code) => [code, code] as const).sort((a, b) => a[0] - b[0]),
  );
  ways.push(`${characterOf(others)} ${REST}`);
  const apart = [...firsts.keys()].every((code) => both(one(code), PLAIN).length > 0); // each begins with a byte of its own
  return apart ? `(${ways.join(" | ")})` : either(ways);
}

/** `least` to `most` of something with commas between them; `most` undefined: any number. */
function listed(item: string, least: number, most: number | undefined): string {
  if (most === 0) return "";
  const more = most === undefined ? `{${Math.max(0, least - 1)},}` : `{${Math.max(0, least - 1)},${most - 1}}`;
  const list = `${item} (", " ${item})${more}`;
  return least === 0 ? `(${list})?` : list;
}

/** Rules that stand once, whoever has them. */
function ruleAdder(rules: string[], prefix: string): AddRule {
  const names = new Map<string, string>();
  return (body) => {
    const known = names.get(body);
    if (known !== undefined) return known;
    const name = `${prefix}${names.size}`;
    names.set(body, name);
    rules.push(`${name} ::= ${body.replaceAll("%", name)}`);
    return name;
  };
}

/** Translates one JSON Schema; each part of it that is referred to becomes a rule. */
class Translator {
  readonly rules: string[] = [];
  readonly #reader: SchemaReader;
  readonly #prefix: string;
  readonly #named = new Map<string, string>(); // references and their rules
  readonly #shared: AddRule;
  readonly #patterns = new Map<string, string>(); // and their rules
  /** How much there is to compile in patterns. */
  places = 0;
  readonly #loose: boolean;
  /** Whether a string with a pattern may have `PROBE`. */
  probed = false;
  /** Whether there are alternatives. */
  branched = false;

  constructor(root: Schema, prefix: string, name: string, loose: boolean) {
    this.#reader = new SchemaReader(root, name);
    this.#prefix = prefix;
    this.#loose = loose;
    this.#shared = ruleAdder(this.rules, `${prefix}_s`);
  }

  /** A rule of its own for some text: grammars are compiled rule by rule. */
  #rule(body: string): string {
    const name = `${this.#prefix}_${this.rules.length}`;
    this.rules.push(`${name} ::= ${body}`);
    return name;
  }

  translate(schema: Schema, at: string): string {
    const reader = this.#reader;
    const node = reader.node(schema, at);
    switch (node.kind) {
      case "any":
        return ANY;
      case "reference": {
        const known = this.#named.get(node.to);
        if (known) return known;
        const name = `${this.#prefix}_ref${this.#named.size}`;
        this.#named.set(node.to, name);
        this.rules.push(`${name} ::= ${this.translate(node.schema, node.to)}`);
        return name;
      }
      case "values":
        return either(node.values.map((value) => literal(pythonJson(value))));
      case "alternatives":
        this.branched = true;
        return this.#rule(either(node.schemas.map((each, i) => this.translate(each, `${node.at}/${i}`))));
      case "types":
        return node.types.length === 1
          ? this.#typed(node.types[0]!, node.schema, at)
          : this.#rule(node.types.map((type) => this.#typed(type, node.schema, at)).join(" | "));
    }
  }

  #typed(type: string, schema: Record<string, unknown>, at: string): string {
    switch (type) {
      case "null":
        return '"null"';
      case "boolean":
        return '("true" | "false")';
      case "string":
        return this.#string(schema, at);
      case "array":
        return this.#array(schema, at);
      case "object":
        return this.#object(schema, at);
      default:
        return this.#number(schema, type === "integer", at);
    }
  }

  #number(schema: Record<string, unknown>, integer: boolean, at: string): string {
    const { least, most } = this.#reader.bounds(schema) as Bounds;
    const step = this.#reader.step(schema, at);
    const grammar = step === undefined ? numberGrammar({ least, most }, integer) : multiplesGrammar(step, { least, most }, integer);
    if (grammar === null) {
      const hint = `give a minimum and a maximum with at most ${MOST_MULTIPLES} multiples between them; 0.1, 0.01, … also go without, or from 0`;
      throw this.#reader.refuse(at, `has multipleOf ${step}, which cannot be enforced over so many numbers`, hint);
    }
    if (grammar === undefined) throw this.#reader.refuse(at, `allows no number that has at most 15 digits`);
    return this.#rule(grammar);
  }

  #string(schema: Record<string, unknown>, at: string): string {
    const reader = this.#reader;
    const [least, most] = reader.counts(schema, "minLength", "maxLength", at);
    const { pattern, format } = schema;
    if (pattern !== undefined || format !== undefined) {
      const key = pattern === undefined ? "format" : "pattern";
      if (least > 0 || most !== undefined) throw reader.refuse(at, `has ${key} beside a length: one of them can be enforced`);
      const source = pattern === undefined ? FORMATS[format as string] : (pattern as string);
      if (source === undefined)
        throw reader.refuse(at, `has the format ${quoted(format as string)}`, `formats are ${Object.keys(FORMATS).join(", ")}`);
      const known = this.#patterns.get(`${key} ${source}`);
      if (known !== undefined) return known; // 20 addresses of mail took 44 s to compile, each with a rule of its own
      const { grammar, places } = regexGrammar(
        plainEscapes(source),
        "u",
        `${reader.place(at)}: ${key}`,
        (set) => {
          this.probed ||= both(set, one(PROBE.codePointAt(0)!)).length > 0;
          return inJson(set);
        },
        this.#shared,
        pattern === undefined,
        reader.place("#"),
      );
      this.places += places;
      const rule = this.#rule(`"\\"" ${grammar} "\\""`);
      this.#patterns.set(`${key} ${source}`, rule);
      return rule;
    }
    return this.#rule(`"\\"" ${this.#loose ? REST : this.#characters(least, most)}`);
  }

  /** `least` to `most` characters of a string, with its end. */
  #characters(least: number, most: number | undefined): string {
    const end = most === undefined ? REST : '"\\""';
    return (most ?? least) === 0 ? end : repeated(CHARACTER, least, most ?? least, end, this.#shared);
  }

  #array(schema: Record<string, unknown>, at: string): string {
    const { least, most, prefix, items } = this.#reader.array(schema, at);
    const first = prefix.map((each, i) => this.translate(each, `${at}/prefixItems/${i}`));
    const item = items === undefined ? undefined : this.translate(items, `${at}/items`);
    if (first.length === 0) return this.#rule(`"[" ${listed(item!, least, most)} "]"`);
    // What may follow the first i items, from the last to the first.
    const behind =
      item === undefined ? '""' : `(", " ${item}){${Math.max(0, least - first.length)},${most === undefined ? "" : most - first.length}}`;
    let rest = behind;
    for (let i = first.length - 1; i >= 0; i--) {
      const next = `${i > 0 ? '", "' : ""} ${first[i]} ${rest}`;
      rest = i >= least ? `(${next})?` : `(${next})`;
    }
    return this.#rule(`"[" ${rest} "]"`);
  }

  #object(schema: Record<string, unknown>, at: string): string {
    const { properties, required, more } = this.#reader.object(schema, at);
    if (properties.length === 0 && more === true) return FREE;
    const pairs = properties.map(([key, each, where]) => ({
      pair: this.#rule(`${literal(`${JSON.stringify(key)}: `)} ${this.translate(each, where)}`),
      needed: required.has(key),
    }));
    const extra =
      more === false
        ? undefined
        : this.#rule(
            `"\\"" ${this.#rule(otherThan(properties.map(([key]) => key)))} ": " ${this.translate(more, `${at}/additionalProperties`)}`,
          );
    const extras = (first: boolean) => (extra === undefined ? '""' : first ? `(${listed(extra, 0, undefined)})` : `(", " ${extra})*`);
    // What may follow once the first i properties were there or left out, with and without a pair before it; from the last to the first.
    let [begun, empty] = [extras(false), extras(true)];
    for (const { pair, needed } of pairs.toReversed()) {
      const [first, next] = [`${pair} ${begun}`, `", " ${pair} ${begun}`];
      [begun, empty] = needed ? [next, first] : [`(${next} | ${begun})`, `(${first} | ${empty})`];
      [begun, empty] = [this.#rule(begun), this.#rule(empty)];
    }
    return this.#rule(`"{" ${empty} "}"`);
  }
}

/** What an answer may be. `name` is how the caller calls it. */
export type Format =
  /** JSON that a schema allows, in the one form that Python's `json.dumps` gives it. */
  | { kind: "json"; schema: unknown; name: string }
  /** A text that a regular expression matches, all of it. */
  | { kind: "regex"; source: string; flags: string; name: string }
  /** Calls of functions in Qwen2.5's form, one or several; or something else in their place; or `within` any text. */
  | {
      kind: "calls";
      functions: readonly CalledFunction[];
      several: boolean;
      within?: boolean | undefined;
      instead?: Extract<Format, { kind: "json" }> | undefined;
      name: string;
    };

/** A function that an answer may call. */
export interface CalledFunction {
  name: string;
  /** The schema of its arguments, and how the caller calls that. */
  parameters: unknown;
  at: string;
}

interface Written {
  ebnf: string;
  /** How much there is to compile (work.ts). */
  work: number;
  /** Whether where a string goes on nothing else may: no alternatives. */
  single: boolean;
}

/** @param loose whether strings are of any length; undefined where a pattern may have `PROBE` then */
function written(format: Format, loose: boolean): Written | undefined {
  if (format.kind === "regex") {
    const rules: string[] = [];
    const { grammar, places } = regexGrammar(format.source, format.flags, format.name, plain, ruleAdder(rules, "s"), true);
    return loose ? undefined : withRules([`root ::= ${grammar}`, ...rules], RULES, places, false);
  }
  const rules: string[] = [];
  let probed = false;
  let places = 0;
  let single = format.kind === "json"; // calls may be of functions that are called alike
  const ruleOf = (schema: unknown, name: string, prefix: string): string => {
    const translator = new Translator(schema as Schema, prefix, name, loose);
    const rule = translator.translate(schema as Schema, "#");
    rules.push(...translator.rules);
    probed ||= translator.probed;
    places += translator.places;
    single &&= !translator.branched;
    return rule;
  };
  if (format.kind === "json") rules.unshift(`root ::= ${ruleOf(format.schema, format.name, "r")}`);
  else {
    const calls = format.functions.map(
      ({ name, parameters, at }, i) =>
        `${literal(`\n{"name": ${JSON.stringify(name)}, "arguments": `)} ${ruleOf(parameters, at, `f${i}`)} "}\\n</tool_call>"`,
    );
    const instead = format.instead && ruleOf(format.instead.schema, format.instead.name, "r");
    const open = '"<tool_call>"';
    rules.unshift(
      format.within
        ? `root ::= TagDispatch((${open}, inside), loop_after_dispatch=${format.several})`
        : `root ::= call${format.several ? ' ("\\n" call)*' : ""}${instead ? ` | ${instead}` : ""}`,
      `call ::= ${open} inside`,
      `inside ::= ${either(calls)}`,
    );
  }
  return loose && probed ? undefined : withRules(rules, LEAST, places, single);
}

function withRules(rules: readonly string[], others: string, places: number, single: boolean): Written {
  const own = rules.join("\n");
  return { ebnf: `${own}\n${others}`, work: workOf(own, places), single };
}

/**
 * A format as XGrammar's EBNF.
 *
 * @throws EngineError bad-input, where it asks for what cannot be enforced: nothing of it is left out silently
 */
export function grammarOf(format: Format): Written {
  const grammar = written(format, false)!;
  if (grammar.work <= MOST_WORK) return grammar;
  const share = Math.round((100 * grammar.work) / MOST_WORK);
  throw new EngineError("bad-input", `${format.name} would be compiled for minutes: it has ${share} % of what is taken`, {
    hint: "give it fewer values, properties that may be left out, or characters that its patterns repeat",
    param: format.name,
  });
}

/**
 * A character that a model hardly writes, of Unicode's private use: where a grammar takes it and no literal or pattern has it, what goes on is
 * text that may have any characters.
 */
export const PROBE = "\ue0f3";

/**
 * The same grammar with strings of any length, of which XGrammar has the masks ready. Undefined where no string has a length, or something
 * else than such strings may have `PROBE`.
 *
 * @param ebnf the format's own grammar
 */
export function looseGrammarOf(format: Format, ebnf: string): string | undefined {
  const loose = written(format, true)?.ebnf;
  return loose === ebnf || loose?.includes(literal(PROBE).slice(1, -1)) ? undefined : loose;
}
