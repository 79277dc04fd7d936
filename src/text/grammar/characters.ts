/** Sets of characters, and how XGrammar's EBNF writes them, plainly or as they stand in a JSON string. */

/** Code points from … to, sorted, apart from each other. */
export type Characters = readonly (readonly [from: number, to: number])[];

/** Everything that UTF-8 can write: no half of a surrogate pair. */
export const ALL: Characters = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

export const one = (code: number): Characters => [[code, code]];

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

export function without(set: Characters, taken: Characters): Characters {
  let left: Characters = set;
  for (const [from, to] of taken) {
    left = left.flatMap(([a, b]) =>
      b < from || a > to ? [[a, b] as const] : [...(a < from ? [[a, from - 1] as const] : []), ...(b > to ? [[to + 1, b] as const] : [])],
    );
  }
  return left;
}

export const both = (a: Characters, b: Characters): Characters => without(a, without(ALL, b));

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

/** One byte of a range. Classes are of bytes in XGrammar 0.1.27, but for those of a single element, which are a character. */
const bytes = (from: number, to: number): string => `[${escaped(from)}${from === to ? "" : "-"}${escaped(to)}]`;

/** The bytes of the characters between two whose UTF-8 is equally long, as what may stand at each place. */
function sequences(from: readonly number[], to: readonly number[]): string[] {
  const [[a, ...low], [b, ...high]] = [from, to] as [[number, ...number[]], [number, ...number[]]];
  if (low.length === 0) return [bytes(a, b)];
  const behind = (first: number, last: number, ways: readonly string[]) => ways.map((way) => `${bytes(first, last)} ${way}`);
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

const encoder = new TextEncoder();
const utf8 = (code: number): number[] => [...encoder.encode(String.fromCodePoint(code))];

const WIDE: Characters = without(ALL, [[0, 0x7f]]);
const waysOf = (set: Characters): string[] =>
  [0x80, 0x800, 0x10000].flatMap((least, i) => {
    const equallyLong = both(set, [[least, [0x7ff, 0xffff, 0x10ffff][i]!]]);
    return equallyLong.flatMap(([from, to]) => sequences(utf8(from), utf8(to)));
  });

/** One character of a set, as it is. */
export function plain(set: Characters): string {
  const ascii = both(set, [[0, 0x7f]]);
  const wide = both(set, WIDE);
  const all = JSON.stringify(wide) === JSON.stringify(WIDE);
  const classes = ascii.map(([from, to]) => `${escaped(from)}-${escaped(to)}`).join("");
  const others = all ? ["wide"] : wide.length > 0 ? [either(waysOf(wide))] : [];
  return `(${[...(classes ? [`[${classes}]`] : []), ...others].join(" | ")})`;
}

const ESCAPED: Characters = [[0, 0x1f], ...one(0x22), ...one(0x5c)];
/** Characters that stand in a JSON string as the one byte that they are. */
export const PLAIN: Characters = without([[0, 0x7f]], ESCAPED);

/** The rules that `either`, `plain` and `inJson` refer to: the beginnings of ways; a character that is not ASCII; and what a JSON string can only hold behind a backslash, each in the one way in which `JSON.stringify` writes it. */
export const RULES = `${Array.from({ length: MOST_WAYS }, (_, i) => `way${i} ::= ""`).join("\n")}
wide ::= ${waysOf(WIDE).join(" | ")}
escape ::= "\\\\" (["\\\\bfnrt] | "u00" ("0" [0-7be-f] | "1" [0-9a-f]))`;

/** One character of a set as it stands in a JSON string. */
export function inJson(set: Characters): string {
  const open = without(set, ESCAPED);
  const rest = both(set, ESCAPED).flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  const written = rest.length === 34 ? ["escape"] : rest.map((code) => literal(JSON.stringify(String.fromCharCode(code)).slice(1, -1)));
  return `(${[...(open.length > 0 ? [plain(open)] : []), ...(written.length > 0 ? [either(written)] : [])].join(" | ")})`;
}
