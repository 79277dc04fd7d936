/** Sets of characters, and how XGrammar's EBNF writes them, plainly or as they stand in a JSON string. */

/** Code points from … to, sorted, apart from each other. */
export type Characters = readonly (readonly [from: number, to: number])[];

/** Everything that UTF-8 can write: no half of a surrogate pair. */
export const ALL: Characters = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** The set of one character. */
export const one = (code: number): Characters => [[code, code]];

/** The characters of any of some sets, as ranges in order. */
export function union(...sets: readonly Characters[]): Characters {
  const sorted = sets.flat().sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = merged.at(-1);
    if (last && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

/** The characters of a set that another has not. */
export function without(set: Characters, taken: Characters): Characters {
  let left: Characters = set;
  for (const [from, to] of taken) {
    left = left.flatMap(([a, b]) =>
      b < from || a > to ? [[a, b] as const] : [...(a < from ? [[a, from - 1] as const] : []), ...(b > to ? [[to + 1, b] as const] : [])],
    );
  }
  return left;
}

/** The characters that two sets have in common. */
export const both = (a: Characters, b: Characters): Characters => without(a, without([[0, 0x10ffff]], b)); // halves of pairs included: a may have them

const escaped = (code: number): string =>
  code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;

/** A text as an EBNF literal. */
export const literal = (text: string): string =>
  text === ""
    ? '""'
    : `"${Array.from(text, (each) => (/[\w ,:;.<>/{}()-]/.test(each) && each.length === 1 ? each : escaped(each.codePointAt(0)!))).join("")}"`;

const MOST_WAYS = 32;

/**
 * One of several ways, as EBNF. XGrammar 0.1.27 merges the states of ways that begin alike with those of ways that end alike, and takes too
 * much then (its issue 618: of "qcb" | "qab" | "qad" also "qcd"). So each begins with an empty rule of its own, and no two begin alike.
 */
export function either(ways: readonly string[]): string {
  if (ways.length < 2) return `(${ways.join("")})`;
  if (ways.length <= MOST_WAYS) return `(${ways.map((way, i) => `way${i} ${way}`).join(" | ")})`;
  const several = Array.from({ length: Math.ceil(ways.length / MOST_WAYS) }, (_, i) => ways.slice(i * MOST_WAYS, (i + 1) * MOST_WAYS));
  return either(several.map(either));
}

/** Bytes one behind the other: what may stand at each place. */
type Sequence = readonly (readonly [from: number, to: number])[];

/** Adds a rule, in whose body `%` is its own name, where there is none like it. @returns its name */
export type AddRule = (body: string) => string;

const MOST_TIMES = 100; // of one repetition: XGrammar takes 15 times as long for a token within one of more than 128
const MOST_PIECES = 100; // the last one has all that is left

/** Something `least` to `most` times, and what comes behind it: a rule for each `MOST_TIMES`, which all that have such an end share. */
export function repeated(item: string, least: number, most: number, end: string, rule: AddRule): string {
  const times = (from: number, to: number) => `${item}{${from},${to}} ${end}`;
  if (most <= MOST_TIMES) return times(least, most);
  const pieces = Math.min(MOST_PIECES, Math.ceil(most / MOST_TIMES));
  const all = rule(`${item}{${MOST_TIMES}}`);
  const before = (pieces - 1) * MOST_TIMES; // the last piece
  let text = rule(times(Math.max(0, least - before), most - before));
  for (let i = pieces - 2; i >= 0; i--) {
    const needed = Math.max(0, least - i * MOST_TIMES);
    const more = `${all} ${text}`;
    text = rule(needed < MOST_TIMES ? either([rule(times(needed, MOST_TIMES - 1)), more]) : more);
  }
  return text;
}

/** One byte of a range. Classes are of bytes in XGrammar 0.1.27, but for those of a single element, which are a character. */
const bytes = (from: number, to: number): string => `[${escaped(from)}${from === to ? "" : "-"}${escaped(to)}]`;

/** The bytes of the characters between two whose UTF-8 is equally long. */
function sequences(from: readonly number[], to: readonly number[]): Sequence[] {
  const [[a, ...low], [b, ...high]] = [from, to] as [[number, ...number[]], [number, ...number[]]];
  if (low.length === 0) return [[[a, b]]];
  const behind = (first: number, last: number, ways: readonly Sequence[]) => ways.map((way): Sequence => [[first, last], ...way]);
  const [least, most] = [low.map(() => 0x80), low.map(() => 0xbf)];
  if (a === b) return behind(a, b, sequences(low, high));
  const [begins, ends] = [low.every((byte) => byte === 0x80), high.every((byte) => byte === 0xbf)];
  const [first, last] = [begins ? a : a + 1, ends ? b : b - 1]; // those with all that may follow
  return [
    ...(begins ? [] : behind(a, a, sequences(low, most))),
    ...(first <= last ? behind(first, last, sequences(least, most)) : []),
    ...(ends ? [] : behind(b, b, sequences(least, high))),
  ];
}

const group = (ways: readonly string[]): string => (ways.length === 1 ? ways[0]! : `(${ways.join(" | ")})`);

/** Sequences as ways of which no two begin alike: so they need no rules before them, which cost XGrammar seven times the time for a token. */
function factored(list: readonly Sequence[]): string[] {
  const begun = new Map<string, Sequence[]>();
  for (const [first, ...rest] of list) {
    const key = bytes(...first!);
    begun.set(key, [...(begun.get(key) ?? []), rest]);
  }
  return [...begun].map(([first, rests]) => (rests[0]!.length === 0 ? first : `${first} ${group(factored(rests))}`));
}

const encoder = new TextEncoder();
const utf8 = (code: number): number[] => [...encoder.encode(String.fromCodePoint(code))];

const WIDE: Characters = without(ALL, [[0, 0x7f]]);
const waysOf = (set: Characters): string[] =>
  [0x80, 0x800, 0x10000].flatMap((least, i) => {
    const equallyLong = both(set, [[least, [0x7ff, 0xffff, 0x10ffff][i]!]]);
    return factored(equallyLong.flatMap(([from, to]) => sequences(utf8(from), utf8(to))));
  });

/** The ways of one character of a set, as it is; no two begin alike. */
export function plain(set: Characters): string[] {
  const ascii = both(set, [[0, 0x7f]]);
  const wide = both(set, WIDE);
  const all = JSON.stringify(wide) === JSON.stringify(WIDE);
  const classes = ascii.map(([from, to]) => `${escaped(from)}-${escaped(to)}`).join("");
  return [...(classes ? [`[${classes}]`] : []), ...(all ? ["wide"] : waysOf(wide))];
}

const ESCAPED: Characters = [[0, 0x1f], ...one(0x22), ...one(0x5c)];
/** Characters that stand in a JSON string as the one byte that they are. */
export const PLAIN: Characters = without([[0, 0x7f]], ESCAPED);

/** The ways of what a JSON string can only hold behind a backslash, each character in the one way in which `JSON.stringify` writes it. */
function escapes(set: Characters): string[] {
  const written = set.flatMap(([from, to]) =>
    Array.from({ length: to - from + 1 }, (_, i) => JSON.stringify(String.fromCharCode(from + i)).slice(2, -1)),
  );
  const coded = (digit: string): string[] => {
    const last = written.filter((each) => each.startsWith(`u00${digit}`)).map((each) => each[4]!);
    return last.length > 0 ? [`"${digit}" [${last.join("")}]`] : [];
  };
  const short = written.filter((each) => each.length === 1).map((each) => (each === "\\" ? "\\\\" : each));
  const codes = [...coded("0"), ...coded("1")];
  const ways = [...(short.length > 0 ? [`[${short.join("")}]`] : []), ...(codes.length > 0 ? [`"u00" ${group(codes)}`] : [])];
  return ways.length > 0 ? [`"\\\\" ${group(ways)}`] : [];
}

/** The rules that `either`, `plain` and `inJson` refer to: the beginnings of ways; a character that is not ASCII; one behind a backslash. */
export const RULES = `${Array.from({ length: MOST_WAYS }, (_, i) => `way${i} ::= ""`).join("\n")}
wide ::= ${waysOf(WIDE).join(" | ")}
escape ::= ${escapes(ESCAPED).join(" | ")}`;

/** The ways of one character of a set as it stands in a JSON string; no two begin alike. */
export function inJson(set: Characters): string[] {
  const open = without(set, ESCAPED);
  const rest = both(set, ESCAPED);
  const all = JSON.stringify(rest) === JSON.stringify(union(ESCAPED));
  return [...(open.length > 0 ? plain(open) : []), ...(all ? ["escape"] : escapes(rest))];
}

/** One character of a set as it stands in a JSON string. */
export const characterOf = (set: Characters): string => `(${inJson(set).join(" | ")})`;
