import { EngineError } from "../../errors.ts";
import { quoted } from "../../options.ts";
import { type AddRule, ALL, both, type Characters, either, one, repeated, union, without } from "./characters.ts";
import { workAt } from "./work.ts";

/** How a grammar writes one character of a set: its ways, of which no two begin alike. */
export type Write = (set: Characters) => string[];

const DIGIT: Characters = [[0x30, 0x39]];
const WORD: Characters = union(DIGIT, [[0x41, 0x5a]], one(0x5f), [[0x61, 0x7a]]);
const SPACE: Characters = union(
  ...Array.from("\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff", (each) => one(each.charCodeAt(0))),
  [[0x2000, 0x200a]],
);
const LINE_ENDS: Characters = union(one(0x0a), one(0x0d), [[0x2028, 0x2029]]);
const CLASSES: Readonly<Record<string, Characters>> = {
  d: DIGIT,
  D: without(ALL, DIGIT),
  w: WORD,
  W: without(ALL, WORD),
  s: SPACE,
  S: without(ALL, SPACE),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 };
type Refuse = (what: string, hint?: string) => EngineError;

const MOST_TIMES = 10_000;
const MOST_DEPTH = 200;

/**
 * A regular expression of JavaScript as XGrammar's EBNF. What it can match anywhere in a text is not what a grammar says: `whole` is for
 * expressions that a whole text has to match, else anything may stand before and behind, as in JSON Schema's `pattern`.
 *
 * @param name how the caller calls it
 * @param param the option that it is in
 * @param write how a character is written
 * @param rule takes what comes again and again: it is compiled once
 * @returns the grammar, and how much there is to compile (work.ts)
 * @throws EngineError bad-input where it has what no grammar of this kind says: assertions, references back, flags but s and u
 */
export function regexGrammar(
  source: string,
  flags: string,
  name: string,
  write: Write,
  rule: AddRule,
  whole: boolean,
  param = name,
): { grammar: string; places: number } {
  const refuse: Refuse = (what, hint) =>
    new EngineError("bad-input", `${name} ${quoted(`/${source}/${flags}`)} has ${what}, which cannot be enforced while text is generated`, {
      hint,
      param,
    });
  const other = /[^su]/.exec(flags);
  if (other) throw refuse(`the flag ${other[0]}`, "flags that carry are s and u; write [Aa] for a in any case");
  try {
    new RegExp(source, flags);
  } catch (cause) {
    throw new EngineError("bad-input", `${name} ${quoted(source)} is not a regular expression: ${(cause as Error).message}`, {
      hint: "write it as JavaScript's RegExp takes it",
      cause,
      param,
    });
  }
  if (!flags.includes("u") && /[\ud800-\udbff][\udc00-\udfff]/.test(source)) throw refuse("a character beyond U+FFFF without the flag u");
  const reader = new Reader(source, flags, whole, write, rule, refuse);
  return { grammar: reader.alternatives(), places: reader.places };
}

/** Reads an expression that JavaScript takes from front to back, and writes the grammar: a method for each thing that it is made of. */
class Reader {
  readonly #source: string;
  readonly #flags: string;
  readonly #whole: boolean;
  readonly #write: Write;
  readonly #rule: AddRule;
  readonly #refuse: Refuse;
  /** Without the flag u a character beyond U+FFFF is two: what is written here never has one then. */
  readonly #universe: Characters;
  #at = 0;
  /** How much there is to compile so far. */
  places = 0;
  /** Of groups. */
  #depth = 0;

  constructor(source: string, flags: string, whole: boolean, write: Write, rule: AddRule, refuse: Refuse) {
    this.#source = source;
    this.#flags = flags;
    this.#whole = whole;
    this.#write = write;
    this.#rule = rule;
    this.#refuse = refuse;
    this.#universe = flags.includes("u") ? ALL : both(ALL, [[0, 0xffff]]);
  }

  #sees(text: string): boolean {
    return this.#source.startsWith(text, this.#at);
  }

  #take(text: string): boolean {
    if (!this.#sees(text)) return false;
    this.#at += text.length;
    return true;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#source);
    if (found) this.#at += found[0].length;
    return found;
  }

  #character(): number {
    const code = this.#source.codePointAt(this.#at)!;
    this.#at += code > 0xffff ? 2 : 1;
    return code;
  }

  alternatives(): string {
    const ways = [this.#way()];
    while (this.#take("|")) ways.push(this.#way());
    return either(ways);
  }

  /** One way of an alternative; anchors only where nothing comes before or behind the whole of it. */
  #way(): string {
    const parts: string[] = [];
    const begins = this.#depth === 0 && this.#take("^");
    let ends = false;
    while (this.#at < this.#source.length && !this.#sees("|") && !this.#sees(")")) {
      if (this.#sees("^") || (this.#sees("$") && this.#depth > 0)) throw this.#refuse(`the anchor ${this.#source[this.#at]} inside`);
      if (this.#take("$")) {
        ends = true;
        if (this.#at < this.#source.length && !this.#sees("|")) throw this.#refuse("the anchor $ inside");
      } else parts.push(this.#term());
    }
    const free = this.#depth === 0 && !this.#whole;
    const any = () => this.#any(this.#write(this.#universe));
    return [...(free && !begins ? [any()] : []), ...parts, ...(free && !ends ? [any()] : [])].join(" ") || '""';
  }

  #term(): string {
    const before = this.places;
    const what = this.#atom();
    const times = this.#match(/([*+?])\??|\{(\d+)(,(\d*))?\}\??/y);
    const item = typeof what === "string" ? what : this.#one(what);
    if (!times) return item;
    const [, sign, least = sign === "+" ? 1 : 0, more, most] = times;
    if (Number(least) > MOST_TIMES || Number(most) > MOST_TIMES) throw this.#refuse(`a repetition of more than ${MOST_TIMES}`);
    this.places = before + (this.places - before) * Math.max(1, Number(most || least)); // each time is compiled
    const open = sign === "*" || sign === "+" || (more !== undefined && most === "");
    if (open && typeof what !== "string") return `${Number(least) > 0 ? `${item}{${Number(least)}} ` : ""}${this.#any(what)}`;
    const last = Number(most ?? least);
    if (!open && sign === undefined && last > 0 && typeof what !== "string") return repeated(item, Number(least), last, "", this.#rule);
    return `${item}${sign ?? `{${Number(least)}${more === undefined ? "" : `,${most === "" ? "" : Number(most)}`}}`}`;
  }

  /** One character: what has several ways is a rule, which is compiled once. Within a repetition it would be as often as it may come. */
  #one(ways: readonly string[]): string {
    return ways.length === 1 ? `(${ways[0]})` : this.#rule(ways.join(" | "));
  }

  /** Any number of characters: a rule that goes on in itself, of which XGrammar has the masks ready. */
  #any(ways: readonly string[]): string {
    return ways.length === 1 ? `(${ways[0]})*` : this.#rule(`"" | ${ways.map((way) => `${way} %`).join(" | ")}`);
  }

  /** A group, or the ways of a character. */
  #atom(): string | string[] {
    if (this.#take("(")) return this.#group();
    if (this.#take("[")) return this.#written(this.#class());
    if (this.#take("\\")) return this.#written(this.#escaped(false));
    if (this.#take(".")) return this.#written(this.#flags.includes("s") ? ALL : without(ALL, LINE_ENDS));
    return this.#written(one(this.#character()));
  }

  #group(): string {
    if (this.#match(/\?(?:[=!]|<[=!])/y)) throw this.#refuse("an assertion that looks ahead or back");
    if (this.#sees("?") && !this.#match(/\?(?::|<[^>]*>)/y)) throw this.#refuse("a group with flags of its own");
    if (++this.#depth > MOST_DEPTH) throw this.#refuse(`groups nested more than ${MOST_DEPTH} deep`);
    const inside = this.alternatives();
    this.#depth--;
    this.#take(")");
    return inside;
  }

  #written(set: Characters): string[] {
    const inside = both(set, this.#universe);
    if (inside.length === 0) throw this.#refuse("a class without characters");
    const ways = this.#write(inside);
    this.places += ways.length === 1 ? workAt(inside) : 0; // a rule is compiled once
    return ways;
  }

  /** What stands between [ and ]. */
  #class(): Characters {
    const negated = this.#take("^");
    let set: Characters = [];
    while (!this.#take("]")) {
      const first = this.#member();
      if (this.#sees("-") && this.#source[this.#at + 1] !== "]") {
        this.#at++;
        const last = this.#member();
        const [from, to] = [codeOf(first), codeOf(last)];
        const range = from !== undefined && to !== undefined;
        set = range ? union(set, both([[from, to]], ALL)) : union(set, first, one(0x2d), last);
      } else set = union(set, first);
    }
    return negated ? without(ALL, set) : set;
  }

  #member(): Characters {
    return this.#take("\\") ? this.#escaped(true) : one(this.#character());
  }

  /** What follows a backslash. */
  #escaped(inClass: boolean): Characters {
    const code = this.#match(/u\{([\da-fA-F]+)\}|u([\da-fA-F]{4})|x([\da-fA-F]{2})/y);
    if (code?.[1] && !this.#flags.includes("u")) throw this.#refuse("\\u{…} without the flag u");
    if (code) return both(one(Number.parseInt(code[1] ?? code[2] ?? code[3]!, 16)), ALL);
    const control = this.#match(/c([A-Za-z])/y);
    if (control) return one(control[1]!.charCodeAt(0) % 32);
    const letter = String.fromCodePoint(this.#character());
    if (letter in CLASSES) return CLASSES[letter]!;
    if (letter === "0" && !/\d/.test(this.#source[this.#at] ?? "")) return one(0);
    if (letter in CONTROLS) return one(CONTROLS[letter]!);
    if (inClass && letter === "b") return one(8);
    if (/[bB]/.test(letter)) throw this.#refuse(`the assertion \\${letter}`);
    if (/[\dk]/.test(letter)) throw this.#refuse(`the reference back or octal code \\${letter}`);
    if (/[pP]/.test(letter)) throw this.#refuse(`the class \\${letter}`, "write the ranges of characters that it may have");
    return one(letter.codePointAt(0)!);
  }
}

/** The code of a set's only character. */
const codeOf = ([only, ...others]: Characters): number | undefined =>
  only && others.length === 0 && only[0] === only[1] ? only[0] : undefined;
