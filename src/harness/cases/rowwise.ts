import { matmul } from "../../ops/matmul.ts";
import { embed, swiglu, VISUAL_FLAG } from "../../ops/rowwise.ts";
import { embed as embedReference } from "../../reference/embed.ts";
import { gelu as geluReference } from "../../reference/gelu.ts";
import { swiglu as swigluReference } from "../../reference/swiglu.ts";
import type { MatrixDtype } from "../../tensor/tensor.ts";
import { defineCase, type KernelCase, wholeOf } from "../case.ts";
import { POISON } from "../guard.ts";
import type { Random } from "../random.ts";

/** How a case's rows are made: [rows, width], with room for `spare` more. */
interface RowsSpec {
  rows: number;
  width: number;
  outliers: boolean;
  spare?: number;
}

const paramsOf = ({ rows, width, outliers, spare }: RowsSpec) => ({ rows, width, outliers, spare: spare || undefined });

const stepOf = ({ rows, spare = 0 }: RowsSpec) => ({ step: { units: rows, start: 0 }, maxUnits: rows + spare });

/** Values [rows, width] of a size at which an activation function is interesting: some way around zero. */
const valuesOf = (random: Random, { rows, outliers }: RowsSpec, width: number) =>
  (outliers ? random.withOutliers(rows * width, width) : random.values(rows * width)).map((v) => 6 * v);

const ONE_A_TOKEN = { base: 0, unit: 1 };

/** A case of silu(gate) · up, gate and up side by side: [rows, 2 width]. */
export function swigluCase(spec: RowsSpec): KernelCase {
  const { rows, width } = spec;
  return defineCase("swiglu", paramsOf(spec), {
    ...stepOf(spec),
    record(program, operands) {
      const xs = valuesOf(operands.random, spec, 2 * width);
      const x = operands.activation("x", ONE_A_TOKEN, 2 * width, xs);
      const at = (i: number) => Math.floor(i / width) * 2 * width + (i % width);
      const expected = () => Float64Array.from({ length: rows * width }, (_, i) => swigluReference(xs[at(i)]!, xs[at(i) + width]!));
      return [wholeOf("y", swiglu(program, x).buffer, rows * width, expected)];
    },
  });
}

/** GELU is part of a product's epilogue: here the product is with the identity, so that its values are the case's own. */
function geluCase(spec: RowsSpec): KernelCase {
  const { rows, width } = spec;
  return defineCase("gelu", paramsOf(spec), {
    ...stepOf(spec),
    record(program, operands) {
      const xs = valuesOf(operands.random, spec, width);
      const x = operands.activation("x", ONE_A_TOKEN, width, xs);
      const identity = Float32Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 1 : 0));
      const parts = [{ buffer: operands.storage("identity", identity), rowStart: 0, rows: width }];
      const w = { label: "identity", shape: [width, width], dtype: "f32", parts } as const;
      const y = matmul(program, x, w, { gelu: true });
      return [wholeOf("y", y.buffer, rows * width, () => Float64Array.from(xs, geluReference))];
    },
  });
}

interface EmbedSpec {
  /** Rows that are sequences of their own. */
  separate?: boolean;
  weights: MatrixDtype;
  vocabulary: number;
  width: number;
  tokens: number;
  start?: number;
  parts?: number;
  /** Rows of visual tokens; 0: none. */
  visual?: number;
}

/** A case of the embedding's gather: rows of a matrix [vocabulary, width], or of the visual tokens. */
export function embedCase(spec: EmbedSpec): KernelCase {
  const { weights, vocabulary, width, tokens, start = 0, parts = 1, visual = 0, separate = false } = spec;
  const more = { start: start || undefined, visual: visual || undefined, parts: parts > 1 ? parts : undefined, separate };
  // Rows that are sequences of their own find their ids in their slots, which need not be in the rows' order.
  const slots = separate ? Array.from({ length: tokens }, (_, row) => tokens - 1 - row) : undefined;
  const params = { tokens, vocabulary, width, weights, ...more };
  return defineCase("embed", params, {
    step: { units: tokens, start, slots },
    maxUnits: tokens + 1,
    record(program, operands) {
      const { random } = operands;
      const ids = Uint32Array.from({ length: tokens }, () => random.integer(0, vocabulary - 1));
      ids[0] = vocabulary - 1;
      ids[tokens - 1] = 0;
      if (parts > 1 && tokens > 2) ids[1] = Math.ceil(vocabulary / parts); // the first row of the second part
      for (let i = 0; i < visual && tokens > 2; i++) ids[random.integer(1, tokens - 2)] = (VISUAL_FLAG | i) >>> 0;
      const rows = random.values(Math.max(1, visual) * width);
      const table = operands.matrix("table", vocabulary, width, weights, parts);
      const history = new Uint32Array(start + tokens).fill(POISON);
      for (const [row, id] of ids.entries()) history[slots ? slots[row]! : start + row] = id;
      const x = program.activation("x", { base: 0, unit: 1 }, width);
      embed(program, operands.storage("ids", history, start + tokens + 1), table.matrix, operands.storage("visual", rows), x, {
        separate,
      });
      return [wholeOf("x", x.buffer, tokens * width, () => embedReference(ids, table.values, rows, width))];
    },
  });
}

/** Activation functions and the embedding's gather. */
export function rowwiseCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const outliers of [false, true]) {
    for (const width of [4, 12, 60, 64, 252, 256, 260, 896, 4096, 4864, 11008])
      for (const rows of width > 1000 ? [1, 3] : [1, 3, 63, 65]) cases.push(swigluCase({ rows, width, outliers }));
    for (const width of [4, 12, 60, 64, 252, 256])
      for (const rows of [1, 2, 3, 8, 9, 63, 65]) cases.push(geluCase({ rows, width, outliers }));
  }
  for (const [caseOf, widest] of [
    [swigluCase, 300],
    [geluCase, 50],
  ] as const) {
    cases.push(caseOf({ rows: 1025, width: 4, outliers: true }), caseOf({ rows: 5, width: 64, outliers: false, spare: 3 }));
    for (let i = 0; i < 12; i++) {
      cases.push(caseOf({ rows: random.integer(1, 80), width: 4 * random.integer(1, widest), outliers: random.next() < 0.5 }));
    }
  }
  for (const weights of ["f32", "f16", "bf16", "q8", "q4"] as const) {
    for (const width of [32, 64, 896, 2048]) {
      for (const tokens of [1, 3, 65]) {
        cases.push(embedCase({ weights, vocabulary: 300, width, tokens, start: tokens - 1, visual: tokens > 3 ? 20 : 0 }));
        cases.push(embedCase({ weights, vocabulary: 65, width, tokens, parts: 3, visual: tokens > 3 ? 5 : 0 }));
      }
    }
    cases.push(embedCase({ weights, vocabulary: 300, width: 64, tokens: 8, start: 700, separate: true }));
    cases.push(embedCase({ weights, vocabulary: 151674, width: 32, tokens: 63, parts: 4, start: 7, visual: 8 }));
    for (let i = 0; i < 6; i++) {
      const tokens = random.integer(1, 80);
      const [vocabulary, width] = [random.integer(1, 500), 32 * random.integer(1, 12)];
      cases.push(embedCase({ weights, vocabulary, width, tokens, parts: random.integer(1, 4), start: random.integer(0, 40) }));
    }
  }
  return cases;
}
