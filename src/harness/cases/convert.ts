import { convert, type PlainDtype } from "../../ops/quantize.ts";
import { embed } from "../../ops/rowwise.ts";
import { dequantize, quantize } from "../../reference/quantize.ts";
import {
  type Bindable,
  BYTES_PER_ELEMENT,
  GROUP,
  isQuantized,
  type Matrix,
  type MatrixDtype,
  type MatrixPart,
} from "../../tensor/tensor.ts";
import { defineCase, type Expectation, type KernelCase, wholeOf } from "../case.ts";
import { rounded } from "../encode.ts";
import type { Random } from "../random.ts";

/** What the weights are like: a trained layer's; groups of all magnitudes, down to what f16 cannot hold; ties and places where formats end. */
type Kind = "uniform" | "magnitudes" | "borders" | "unfit";

// Of f16 and bf16: the largest and the smallest numbers, halves between neighbours (ties to even), signed zeros.
const BORDERS = [65504, 65519, -65519, 2 ** -24, 2 ** -25, 1.5 * 2 ** -25, -(2 ** -14), 2 ** -14 - 2 ** -26, 0, -0]
  .concat([1, 3, 5].map((odd) => 1 + odd * 2 ** -11))
  .concat([1, 3, 5].map((odd) => -1 - odd * 2 ** -8));
/** What a format cannot hold, besides infinities. */
const UNFIT: Readonly<Record<MatrixDtype, readonly number[]>> = { f32: [], f16: [65520, -1e9], bf16: [3.4e38], q8: [1e9], q4: [-1e9] };

function draw(random: Random, kind: Kind, count: number, to: MatrixDtype): Float32Array<ArrayBuffer> {
  const xs = random.values(count);
  if (kind === "magnitudes") {
    for (let at = 0; at < count; at += GROUP) {
      const factor = random.next() < 0.1 ? 0 : 2 ** random.integer(-30, 10);
      for (let i = at; i < Math.min(count, at + GROUP); i++) xs[i]! *= factor;
    }
  } else if (kind === "borders") {
    for (let i = 0; i < count; i++) xs[i] = random.pick(BORDERS);
  } else if (kind === "unfit") {
    for (let i = 0; i < count; i += random.integer(1, 50))
      xs[i] = random.pick([...UNFIT[to], Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  }
  return xs;
}

const wordsOf = (halves: Uint16Array<ArrayBuffer>): Uint32Array<ArrayBuffer> => new Uint32Array(halves.buffer);

/** What a conversion makes: the stretch's words and scales, and which of its elements or groups the format cannot hold. */
function converted(values: Float32Array<ArrayBuffer>, to: MatrixDtype) {
  if (!isQuantized(to)) {
    const made = rounded(values, to);
    const refused = [...values.keys()].filter((i) => Number.isFinite(values[i]!) && !Number.isFinite(made.values[i]!));
    return { scales: new Uint16Array(0), words: made.words, refused };
  }
  const { codes, scales } = quantize(values, to);
  const unfit = (g: number) =>
    (scales[g]! & 0x7c00) === 0x7c00 || values.subarray(g * GROUP, (g + 1) * GROUP).some((v) => !Number.isFinite(v));
  return { words: codes, scales, refused: [...scales.keys()].filter(unfit) };
}

interface Spec {
  from: PlainDtype;
  to: MatrixDtype;
  elements: number;
  first?: number;
  kind: Kind;
}

/** `quantize` (to q8, q4) and `convert`: a stretch of a part that held something else before, which stays as it was around it. */
function convertCase({ from, to, elements, first = 0, kind }: Spec): KernelCase {
  const params = { elements, from, to, first: first || undefined, values: kind };
  return defineCase(isQuantized(to) ? "quantize" : "convert", params, {
    step: { units: 1, start: 0 },
    record(program, { random, storage }): Expectation[] {
      const quantized = isQuantized(to);
      const { words, values } = rounded(draw(random, kind, elements, to), from);
      const made = converted(values, to);
      const perWord = 4 / BYTES_PER_ELEMENT[to];
      const some = (count: number) => Uint32Array.from({ length: count }, () => random.integer(0, 2 ** 32 - 1));
      const before = some((first + elements) / perWord + 2);
      const buffer = storage("to", before);
      const refused = storage("refused", Uint32Array.of(7, 5, 3, 1));
      const target: MatrixPart = { rowStart: 0, rows: 1, buffer };
      // Of a group that its format cannot hold nothing is promised but that it is counted.
      const lost = new Set(quantized ? made.refused.map((g) => first / GROUP + g) : []);
      const picked = (label: string, buffer: Bindable, words: Uint32Array, groupsOf: (word: number) => number[]): Expectation => {
        const indices = Uint32Array.from([...words.keys()].filter((word) => !groupsOf(word).some((g) => lost.has(g))));
        return { ...wholeOf(label, buffer, words.length, () => indices.map((i) => words[i]!), "u32"), indices };
      };
      const expectedWords = before.slice();
      expectedWords.set(made.words, first / perWord);
      const outputs: Expectation[] = [
        picked("to", buffer, expectedWords, (word) => [Math.floor((word * perWord) / GROUP)]),
        wholeOf("refused", refused, 4, () => [7, 5, 3 + made.refused.length, 1], "u32"),
      ];
      if (quantized) {
        const scalesBefore = some(Math.ceil((first + elements) / GROUP / 2) + 1); // two to a word
        target.scales = storage("scales", scalesBefore);
        const all = new Uint16Array(scalesBefore.slice().buffer);
        all.set(made.scales, first / GROUP);
        outputs.push(picked("scales", target.scales, wordsOf(all), (word) => [2 * word, 2 * word + 1]));
      }
      convert(program, { source: storage("source", words), from, to, part: target, first, elements, refused, counter: 2 });
      return outputs;
    },
  });
}

/**
 * The matrix's values as the engine reads them, by the embedding's gather of every row. Codes are all there are, scales all magnitudes
 * of f16, of either sign.
 */
function dequantizeCase(weights: "q8" | "q4", rows: number, width: number): KernelCase {
  const params = { rows, width, weights };
  return defineCase("dequantize", params, {
    step: { units: rows, start: 0 },
    record(program, { random, storage }) {
      const count = rows * width;
      const codes = Uint32Array.from({ length: (count * BYTES_PER_ELEMENT[weights]) / 4 }, () => random.integer(0, 2 ** 32 - 1));
      if (weights === "q8") {
        const bytes = new Int8Array(codes.buffer);
        for (let i = 0; i < bytes.length; i++) bytes[i] = Math.max(-127, bytes[i]!); // -128 is not a code
      }
      const scales = new Uint16Array(2 * Math.ceil(count / GROUP / 2));
      for (let g = 0; g < scales.length; g++) scales[g] = random.integer(1, 0x7bff) | (random.next() < 0.5 ? 0x8000 : 0);
      const table: Matrix = {
        label: "table",
        shape: [rows, width],
        dtype: weights,
        parts: [{ buffer: storage("codes", codes), scales: storage("scales", wordsOf(scales)), rowStart: 0, rows }],
      };
      const ids = Uint32Array.from({ length: rows }, (_, i) => i);
      const x = program.activation("x", { base: 0, unit: 1 }, width);
      embed(program, storage("ids", ids), table, storage("visual", new Float32Array(width)), x);
      const expected = () => dequantize({ codes, scales: scales.subarray(0, count / GROUP) }, weights);
      return [wholeOf("x", x.buffer, count, expected)];
    },
  });
}

const PLAIN: readonly PlainDtype[] = ["f32", "f16", "bf16"];

/** Conversions of weights between the formats, bit by bit. */
export function convertCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const from of PLAIN) {
    for (const to of ["f32", "f16", "bf16", "q8", "q4"] as const) {
      if (from === to) continue;
      const unit = isQuantized(to) ? GROUP : 4;
      const kinds: readonly Kind[] = isQuantized(to) ? ["uniform", "magnitudes"] : ["uniform", "magnitudes", "borders"];
      for (const kind of kinds) {
        for (const [first, units] of [
          [0, 1],
          [0, 3],
          [1, 1],
          [5, 63],
          [0, 65],
          [3, 1025],
        ] as const) {
          cases.push(convertCase({ from, to, elements: unit * units, first: unit * first, kind }));
        }
        const [first, units] = [random.integer(0, 70), random.integer(1, 200)];
        cases.push(convertCase({ from, to, elements: unit * units, first: unit * first, kind }));
      }
      // f16 holds nothing that f32 and bf16 cannot.
      if (from !== "f16" && to !== "f32") cases.push(convertCase({ from, to, elements: unit * 70, first: unit, kind: "unfit" }));
    }
  }
  for (const weights of ["q8", "q4"] as const) {
    for (const [rows, width] of [
      [1, 32],
      [3, 64],
      [65, 96],
      [63, 896],
      [17, 2048],
    ] as const) {
      cases.push(dequantizeCase(weights, rows, width));
    }
  }
  return cases;
}
