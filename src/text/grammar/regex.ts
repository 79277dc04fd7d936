import { EngineError } from "../../errors.ts";
import { quoted } from "../../options.ts";
import { ALL, both, type Characters, either, one, union, without } from "./characters.ts";

/** How a grammar writes one character of a set. */
export type Write = (set: Characters) => string;

const DIGIT: Characters = [[0x30, 0x39]];
const WORD: Characters = union(DIGIT, [[0x41, 0x5a]], one(0x5f), [[0x61, 0x7a]]);
const SPACE: Characters = union(
  [[0x09, 0x0d]],
  one(0x20),
  one(0xa0),
  one(0x1680),
  [[0x2000, 0x200a]],
  [[0x2028, 0x2029]],
  one(0x202f),
  one(0x205f),
  one(0x3000),
  one(0xfeff),
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
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 };
const MOST_TIMES = 10_000;
const MOST_DEPTH = 200;

/**
 * A regular expression of JavaScript as XGrammar's EBNF. What it can match anywhere in a text is not what a grammar says: `whole` is for
 * expressions that a whole text has to match, else anything may stand before and behind, as in JSON Schema's `pattern`.
 *
 * @param name how the caller calls it
 * @param param the option that it is in
 * @param write how a character is written
 * @throws EngineError bad-input where it has what no grammar of this kind says: assertions, references back, flags but s and u
 */
export function regexGrammar(source: string, flags: string, name: string, write: Write, whole: boolean, param = name): string {
  const refuse = (what: string, hint?: string) =>
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
      cause,
      param,
    });
  }
  const unicode = flags.includes("u");
  // Without u a character beyond U+FFFF is two: what is written here never has one then.
  const universe = unicode ? ALL : both(ALL, [[0, 0xffff]]);
  const characters = Array.from(source);
  if (!unicode && characters.some((each) => each.length > 1)) throw refuse("a character beyond U+FFFF without the flag u");
  const any = `${write(universe)}*`;
  let at = 0;
  let depth = 0;

  const peek = (text: string): boolean => source.startsWith(text, at);
  const take = (text: string): boolean => {
    if (!peek(text)) return false;
    at += text.length;
    return true;
  };
  const matched = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found) at += found[0].length;
    return found;
  };
  const written = (set: Characters): string => {
    const inside = both(set, universe);
    if (inside.length === 0) throw refuse("a class without characters");
    return write(inside);
  };

  /** What follows a backslash: a set. */
  function escapedSet(inClass: boolean): Characters {
    const code = matched(/u\{([\da-fA-F]+)\}|u([\da-fA-F]{4})|x([\da-fA-F]{2})/y);
    if (code && (code[1] === undefined || unicode)) return both(one(Number.parseInt(code[1] ?? code[2] ?? code[3]!, 16)), ALL);
    if (code) throw refuse("\\u{…} without the flag u");
    const control = matched(/c([A-Za-z])/y);
    if (control) return one(control[1]!.charCodeAt(0) % 32);
    const letter = String.fromCodePoint(source.codePointAt(at)!);
    at += letter.length;
    if (letter in CLASSES) return CLASSES[letter]!;
    if (letter === "0" && !/\d/.test(source[at] ?? "")) return one(0);
    if (letter in CONTROLS && letter !== "0") return one(CONTROLS[letter]!);
    if (inClass && letter === "b") return one(8);
    if (/[bB]/.test(letter)) throw refuse(`the assertion \\${letter}`);
    if (/[\dk]/.test(letter)) throw refuse(`the reference back or octal code \\${letter}`);
    if (/[pP]/.test(letter)) throw refuse(`the class \\${letter}`, "write the ranges of characters that it may have");
    return one(letter.codePointAt(0)!);
  }

  function member(): { set: Characters; code: number | undefined } {
    if (take("\\")) {
      const set = escapedSet(true);
      return { set, code: set.length === 1 && set[0]![0] === set[0]![1] ? set[0]![0] : undefined };
    }
    const code = source.codePointAt(at)!;
    at += code > 0xffff ? 2 : 1;
    return { set: one(code), code };
  }

  function classOf(): Characters {
    const negated = take("^");
    let set: Characters = [];
    while (!take("]")) {
      const first = member();
      if (peek("-") && source[at + 1] !== "]") {
        at++;
        const last = member();
        if (first.code !== undefined && last.code !== undefined) set = union(set, both([[first.code, last.code]], ALL));
        else set = union(set, first.set, one(0x2d), last.set);
      } else set = union(set, first.set);
    }
    return negated ? without(ALL, set) : set;
  }

  function atom(): string {
    if (take("(")) {
      if (matched(/\?(?:[=!]|<[=!])/y)) throw refuse("an assertion that looks ahead or back");
      if (peek("?") && !matched(/\?(?::|<[^>]*>)/y)) throw refuse("a group with flags of its own");
      if (++depth > MOST_DEPTH) throw refuse(`groups nested more than ${MOST_DEPTH} deep`);
      const inside = alternatives();
      depth--;
      take(")");
      return inside;
    }
    if (take("[")) return written(classOf());
    if (take("\\")) return written(escapedSet(false));
    if (take(".")) return written(flags.includes("s") ? ALL : without(ALL, LINE_ENDS));
    return written(member().set);
  }

  function term(): string {
    const what = atom();
    const times = matched(/([*+?])\??|\{(\d+)(,(\d*))?\}\??/y);
    if (!times) return what;
    const [, sign, least, more, most] = times;
    if (Number(least) > MOST_TIMES || Number(most) > MOST_TIMES) throw refuse(`a repetition of more than ${MOST_TIMES}`);
    return `${what}${sign ?? `{${Number(least)}${more === undefined ? "" : `,${most === "" ? "" : Number(most)}`}}`}`;
  }

  /** One way of an alternative; anchors only where nothing comes before or behind the whole of it. */
  function way(): string {
    const parts: string[] = [];
    const begins = depth === 0 && take("^");
    let ends = false;
    while (at < source.length && !peek("|") && !peek(")")) {
      if (peek("^") || (peek("$") && depth > 0)) throw refuse(`the anchor ${source[at]} inside`);
      if (take("$")) {
        ends = true;
        if (at < source.length && !peek("|")) throw refuse("the anchor $ inside");
      } else parts.push(term());
    }
    const free = depth === 0 && !whole;
    return [...(free && !begins ? [any] : []), ...parts, ...(free && !ends ? [any] : [])].join(" ") || '""';
  }

  function alternatives(): string {
    const ways = [way()];
    while (take("|")) ways.push(way());
    return either(ways);
  }

  return alternatives();
}
