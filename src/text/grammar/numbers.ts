/** Decimal numbers between bounds as EBNF: each in the one form without leading zeros, as JSON has it. */
import { either } from "./characters.ts";

/** What a bound is; what is open is absent. */
export interface Bounds {
  least?: { value: number; excluded: boolean } | undefined;
  most?: { value: number; excluded: boolean } | undefined;
}

/** Digits that a number has at most: more would be rounded when it is read. */
const DIGITS = 15;
const FRACTION = 6; // digits behind the point, beyond those of a bound

const digit = (from: number, to: number): string => `[${from}-${to}]`;
const some = (least: number, most: number): string => (most === 0 ? '""' : `[0-9]{${least},${most}}`);

/** Digits of one length from `low` to `high`. */
function sameLength(low: string, high: string): string[] {
  if (low === "") return ['""'];
  const [a, b] = [Number(low[0]), Number(high[0])];
  const [low1, high1] = [low.slice(1), high.slice(1)];
  if (/^0*$/.test(low1) && /^9*$/.test(high1)) return [`${digit(a, b)} ${some(low1.length, low1.length)}`];
  if (a === b) return [`"${a}" ${either(sameLength(low1, high1))}`];
  const between = a + 1 <= b - 1 ? [`${digit(a + 1, b - 1)} ${some(low1.length, low1.length)}`] : [];
  return [
    `"${a}" ${either(sameLength(low1, "9".repeat(low1.length)))}`,
    ...between,
    `"${b}" ${either(sameLength("0".repeat(high1.length), high1))}`,
  ];
}

/** Integers from `low` to `high`, both from 0 on, without sign. */
function naturals(low: bigint, high: bigint): string[] {
  const ways: string[] = [];
  let whole: [least: number, most: number] | undefined; // lengths of which all numbers are between them
  for (let from = low; from <= high; ) {
    const { length } = from.toString();
    const last = 10n ** BigInt(length) - 1n;
    const to = last < high ? last : high;
    if (to === last && from === 10n ** BigInt(length - 1)) whole = [whole?.[0] ?? length, length];
    else ways.push(...sameLength(from.toString(), to.toString()));
    from = to + 1n;
  }
  return whole ? [...ways, `[1-9] ${some(whole[0] - 1, whole[1] - 1)}`] : ways;
}

interface Open {
  low: boolean;
  high: boolean;
}

/**
 * Digits behind a point, one at least, of fractions between two, which have no zeros at their end; and up to `more` digits beyond theirs.
 *
 * @param low "" for 0, undefined where there is no bound
 */
function fraction(low: string | undefined, high: string | undefined, more: number, open: Open): string[] {
  if (low === "" && !open.low) return fraction(undefined, high, more, open);
  if (high === "") return []; // only zeros would do: the form without them is there already
  if (low === undefined && high === undefined) return [some(1, more)];
  if (low === "" && high === undefined) return [`"0"{0,${more - 1}} [1-9] ${some(0, more - 1)}`];
  const a = low === undefined ? -1 : Number(low[0] ?? 0);
  const b = high === undefined ? 10 : Number(high[0]);
  const ways = b - a > 1 ? [`${digit(a + 1, b - 1)} ${some(0, more)}`] : [];
  const behind = (first: number, inside: readonly string[]) => {
    if (inside.length > 0) ways.push(`"${first}" ${either(inside)}`);
  };
  if (a === b) behind(a, tail(low!.slice(1), high!.slice(1), more, open));
  if (a < b && low !== undefined) behind(a, tail(low.slice(1), undefined, more, open));
  if (a < b && high !== undefined) behind(b, tail(undefined, high.slice(1), more, open));
  return ways;
}

/** What may follow the digits so far, which are those of the bounds; nothing at all where that is between them. */
function tail(low: string | undefined, high: string | undefined, more: number, open: Open): string[] {
  const ends = (low === undefined || (low === "" && !open.low)) && !(high === "" && open.high);
  return [...(ends ? ['""'] : []), ...fraction(low, high, more, open)];
}

/** A decimal text of a number without sign and exponent. */
function decimal(value: number): { whole: bigint; fraction: string } {
  const [, whole, digits = "", power = "0"] = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value))!;
  const shift = Number(power);
  const all = whole! + digits;
  const point = whole!.length + shift;
  const padded = point <= 0 ? "0".repeat(1 - point) + all : all.padEnd(point, "0");
  const at = Math.max(point, 1);
  return { whole: BigInt(padded.slice(0, at)), fraction: padded.slice(at).replace(/0+$/, "") };
}

/** Numbers from `low` to `high` (both from 0 on; no upper bound: as many digits as fit), without sign. */
function magnitudes(low: Bounds["least"] & {}, high: Bounds["most"], integer: boolean): string[] {
  const top = high ?? { value: 10 ** DIGITS - 1, excluded: false };
  const from = decimal(low.value);
  const to = decimal(top.value);
  const firstWhole = from.whole + (from.fraction !== "" || low.excluded ? 1n : 0n);
  const lastWhole = to.whole - (to.fraction === "" && top.excluded ? 1n : 0n);
  const ways = naturals(firstWhole, lastWhole);
  if (integer) return ways;
  const longest = Math.max(from.fraction.length, to.fraction.length);
  const more = Math.max(1, Math.min(FRACTION, DIGITS - longest - (high ? to.whole.toString().length : 0)));
  const open = { low: low.excluded, high: top.excluded };
  const behind = (whole: bigint, ways: string[]) => (ways.length > 0 ? [`"${whole}." ${either(ways)}`] : []);
  const [a, b] = [from.whole, to.whole];
  if (a === b) return [...ways, ...behind(a, fraction(from.fraction, to.fraction, more, open))];
  const between = naturals(a + 1n, b - 1n);
  return [
    ...ways,
    ...behind(a, fraction(from.fraction, undefined, more, open)),
    ...(between.length > 0 ? [`${either(between)} "." ${some(1, more)}`] : []),
    ...(high ? behind(b, fraction(undefined, to.fraction, more, open)) : []),
  ];
}

/** Numbers between bounds, or integers; undefined where there are none that are written so. */
export function numberGrammar({ least, most }: Bounds, integer: boolean): string | undefined {
  const limit = 10 ** DIGITS;
  if ((least && least.value >= limit) || (most && most.value <= -limit)) return undefined;
  const low = least && least.value > -limit ? least : undefined; // what has no more digits is within the others
  const high = most && most.value < limit ? most : undefined;
  if (!low && !high && !integer) return `"-"? ("0" | [1-9] [0-9]{0,${DIGITS - 1}}) ("." [0-9]{1,${DIGITS}})? ([eE] [+\\-]? [0-9]{1,2})?`;
  const ways: string[] = [];
  const from = low && low.value >= 0 ? low : { value: 0, excluded: false };
  if (!high || high.value > from.value || (high.value === from.value && !high.excluded && !from.excluded)) {
    ways.push(...magnitudes(from, high, integer));
  }
  const under = high && high.value < 0 ? { value: -high.value, excluded: high.excluded } : { value: 0, excluded: true };
  const over = low && { value: -low.value, excluded: low.excluded };
  if (!over || over.value > under.value || (over.value === under.value && !over.excluded && !under.excluded)) {
    const negative = magnitudes(under, over, integer);
    if (negative.length > 0) ways.push(`"-" ${either(negative)}`);
  }
  return ways.length > 0 ? either(ways) : undefined;
}

/** Multiples between two bounds that a grammar lists at most. */
export const MOST_MULTIPLES = 1000;

/** Multiples of `step`, above 0: all of them between two bounds; or decimals, from 0 or without bounds. undefined: none; null: it cannot be said. */
export function multiplesGrammar(step: number, { least, most }: Bounds, integer: boolean): string | undefined | null {
  const digits = Math.max(...[step, least?.value ?? 0, most?.value ?? 0].map((value) => decimal(Math.abs(value)).fraction.length));
  const unit = 10n ** BigInt(digits);
  const scaled = (value: number): bigint => {
    const { whole, fraction } = decimal(Math.abs(value));
    return (value < 0 ? -1n : 1n) * (whole * unit + BigInt(`0${fraction.padEnd(digits, "0")}`));
  };
  const by = scaled(step);
  if (integer && unit % by === 0n) return numberGrammar({ least, most }, true);
  if (least && most) {
    const [low, high] = [scaled(least.value) + (least.excluded ? 1n : 0n), scaled(most.value) - (most.excluded ? 1n : 0n)];
    const texts: string[] = [];
    let at = low - (((low % by) + by) % by);
    if (at < low) at += by;
    if (high - at > by * BigInt(MOST_MULTIPLES - 1)) return null;
    for (; at <= high; at += by) {
      const size = (at < 0n ? -at : at).toString().padStart(digits + 1, "0");
      const behind = size.slice(size.length - digits).replace(/0+$/, "");
      if (!integer || behind === "" || digits === 0) {
        texts.push(`"${at < 0n ? "-" : ""}${size.slice(0, size.length - digits)}${digits > 0 && behind ? `.${behind}` : ""}"`);
      }
    }
    return texts.length > 0 ? either(texts) : undefined;
  }
  const places = decimal(step).fraction.length;
  if (most || (least && (least.value !== 0 || least.excluded)) || !/^(1|0\.0*1)$/.test(step.toFixed(places))) return null;
  return `${least ? "" : '"-"?'} ("0" | [1-9] [0-9]{0,${DIGITS - 1 - places}})${places > 0 ? ` ("." [0-9]{1,${places}})?` : ""}`;
}
