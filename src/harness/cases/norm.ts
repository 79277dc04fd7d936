import { type NormVariant, type QkNormVariant, VARIANTS } from "../../ops/choose.ts";
import { norm, qkNorm } from "../../ops/norm.ts";
import * as reference from "../../reference/norm.ts";
import { defineCase, type KernelCase, lacks, wholeOf } from "../case.ts";
import { sampleRows } from "../picks.ts";
import type { Random } from "../random.ts";

interface Spec {
  rows: number;
  width: number;
  eps?: number;
  layer?: boolean;
  outliers?: boolean;
  /** Only the step's last row. */
  last?: boolean;
  /** Rows for which the program is recorded beyond the step's. */
  spare?: number;
  variant?: NormVariant;
}

/** A case of RMSNorm, or of LayerNorm, x: [rows, width]. */
export function normCase({ rows, width, eps = 1e-6, layer = false, outliers, last, spare = 0, variant }: Spec): KernelCase {
  const params = { rows, width, eps, last, outliers, spare: spare || undefined, variant };
  return defineCase(layer ? "layer_norm" : "rms_norm", params, {
    step: { units: rows, start: 0 },
    maxUnits: rows + spare,
    unsupported: (gpu) => lacks(gpu, "norm", variant),
    record(program, operands) {
      const { random } = operands;
      const xs = outliers ? random.withOutliers(rows * width, width) : random.values(rows * width);
      const weight = random.values(width);
      const bias = layer ? random.values(width) : undefined;
      const x = operands.activation("x", { base: 0, unit: 1 }, width, xs);
      const weights = { weight: operands.vector("weight", weight), bias: bias && operands.vector("bias", bias), eps };
      const y = norm(program, x, weights, { last: last ?? false, variant });
      const row = (i: number) => reference.norm(xs.subarray(i * width, (i + 1) * width), weight, bias, eps);
      if (last) return [wholeOf("y", y.buffer, width, () => row(rows - 1))];
      const peer = { op: "norm", rows, eps, x: xs, weight, bias } as const;
      return [{ label: "y", buffer: y.buffer, kind: "f32", length: rows * width, ...sampleRows(rows, width, random, row), peer }];
    },
  });
}

function qkNormCase(rows: number, width: number, eps: number, tiles = 1, variant?: QkNormVariant): KernelCase {
  const params = { rows, width, eps, tiles: tiles > 1 ? tiles : undefined, variant };
  return defineCase("qk_norm", params, {
    step: { units: tiles, start: 0 },
    unsupported: (gpu) => lacks(gpu, "qkNorm", variant),
    record(program, operands) {
      const { random } = operands;
      const values = random.withOutliers(tiles * rows * 3 * width, 3 * width);
      const [q, k] = [random.values(width), random.values(width)];
      const qkv = operands.activation("qkv", { base: 0, unit: rows }, 3 * width, values);
      qkNorm(program, qkv, operands.vector("q_norm", q), operands.vector("k_norm", k), eps, { variant });
      const each = (row: number) => {
        const part = (i: number) => values.subarray((3 * row + i) * width, (3 * row + i + 1) * width);
        return [...reference.norm(part(0), q, undefined, eps), ...reference.norm(part(1), k, undefined, eps), ...part(2)];
      };
      return [
        { label: "qkv", buffer: qkv.buffer, kind: "f32", length: values.length, ...sampleRows(tiles * rows, 3 * width, random, each) },
      ];
    },
  });
}

const WIDTHS = [4, 8, 60, 64, 252, 256, 260, 896, 1024, 2048, 3200, 4096]; // the models' from 896 on

/** LayerNorm, RMSNorm, and InternViT-6B's norm of whole q and k. */
export function normCases(random: Random): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const layer of [true, false]) {
    for (const width of WIDTHS) {
      for (const rows of [1, 3, 65]) {
        for (const outliers of [false, true]) cases.push(normCase({ rows, width, layer, outliers }));
      }
      cases.push(normCase({ rows: 5, width, layer, eps: 1e-5, spare: 2 }));
    }
    for (const width of [64, 1024]) cases.push(normCase({ rows: 1025, width, layer }));
    for (let i = 0; i < 20; i++) {
      cases.push(normCase({ rows: random.integer(1, 100), width: 4 * random.integer(1, 600), layer, outliers: random.next() < 0.5 }));
    }
  }
  for (const width of [64, 260, 896, 2048]) {
    for (const rows of [1, 2, 63, 130]) cases.push(normCase({ rows, width, last: true, outliers: true, spare: 1 }));
  }
  for (const width of [4, 64, 260, 1024, 3200]) {
    for (const rows of [1, 3, 65]) cases.push(qkNormCase(rows, width, 1e-6));
    cases.push(qkNormCase(17, width, 1e-6, 2));
  }
  for (const variant of VARIANTS.norm) {
    for (const layer of [true, false]) {
      for (const width of [4, 260, 1024]) {
        for (const rows of [1, 17]) cases.push(normCase({ rows, width, layer, outliers: true, spare: rows === 17 ? 2 : 0, variant }));
      }
    }
    cases.push(normCase({ rows: 5, width: 260, last: true, outliers: true, spare: 1, variant }));
    if (variant !== "cpu_thread") cases.push(qkNormCase(17, 260, 1e-6, 1, variant), qkNormCase(3, 3200, 1e-6, 2, variant));
  }
  return cases;
}
