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

const range = ([from, to]: readonly [number, number]): string => (from === to ? escaped(from) : `${escaped(from)}-${escaped(to)}`);

/** A text as an EBNF literal. */
export const literal = (text: string): string =>
  text === ""
    ? '""'
    : `"${Array.from(text, (each) => (/[\w ,:;.<>/{}()-]/.test(each) && each.length === 1 ? each : escaped(each.codePointAt(0)!))).join("")}"`;

/** One character of a set, as it is. */
export const plain = (set: Characters): string => `[${set.map(range).join("")}]`;

const ESCAPED: Characters = [[0, 0x1f], ...one(0x22), ...one(0x5c)];

/** The rule that `inJson` refers to: what a JSON string can only hold behind a backslash, each in the one way in which `JSON.stringify` writes it. */
export const ESCAPE = 'escape ::= "\\\\" (["\\\\bfnrt] | "u00" ("0" [0-7be-f] | "1" [0-9a-f]))';

/** One character of a set as it stands in a JSON string. */
export function inJson(set: Characters): string {
  const open = without(set, ESCAPED);
  const rest = both(set, ESCAPED).flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  const written = rest.length === 34 ? ["escape"] : rest.map((code) => literal(JSON.stringify(String.fromCharCode(code)).slice(1, -1)));
  return `(${[...(open.length > 0 ? [plain(open)] : []), ...written].join(" | ")})`;
}
