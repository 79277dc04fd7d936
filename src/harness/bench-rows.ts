import { type NormVariant, triesOf, variantsOf } from "../ops/choose.ts";
import { norm } from "../ops/norm.ts";
import { inverseFrequencies, ropeAppend, ropeTable } from "../ops/rope.ts";
import { embed, swiglu } from "../ops/rowwise.ts";
import { createSampleState, sample } from "../ops/sample.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { activationOf, type BenchCase, storageOf } from "./bench-case.ts";
import { Noise, nmse, randomMatrix, uploadMatrix } from "./bench-data.ts";

function normCase(rows: number, width: number, layer: boolean): BenchCase {
  return {
    op: layer ? "layer_norm" : "rms_norm",
    ...(layer && rows === 1025 ? { goals: [{ over: "onnxruntime", least: 2 }] } : {}),
    params: `rows=${rows},width=${width}`,
    flops: rows * width * (layer ? 7 : 4),
    bytes: 4 * (2 * rows * width + (layer ? 2 : 1) * width),
    ceiling: "streamGBps",
    accuracy: "f32",
    variants: (gpu) => variantsOf(gpu, "norm", { rows, width }),
    chosen: (gpu) => triesOf(gpu, "norm", { rows, width })[0]!,
    prepare(gpu) {
      const noise = new Noise(rows + width);
      const eps = 1e-6;
      const x = noise.values(rows * width).map((v) => v + 0.25);
      const weight = noise.values(width);
      const bias = layer ? noise.values(width) : undefined;
      const input = activationOf(gpu, "x", x, width, 1);
      const vector = (label: string, data: Float32Array<ArrayBuffer>) => ({ label, length: width, buffer: storageOf(gpu, label, data) });
      const weights = { weight: vector("weight", weight), bias: bias && vector("bias", bias), eps };
      const samples = [0, rows - 1, ...Array.from({ length: 8 }, () => noise.below(rows))];
      return {
        step: { units: rows, start: 0 },
        spec: { op: "norm", rows, eps, x, weight, bias },
        record: (p, variant) => ({
          buffer: norm(p, input, weights, { variant: variant as NormVariant | undefined }).buffer,
          bytes: rows * width * 4,
        }),
        nmse(output) {
          const y = new Float32Array(output);
          return nmse(
            samples.flatMap((row) => {
              const values = [...x.subarray(row * width, (row + 1) * width)];
              const mean = layer ? values.reduce((a, b) => a + b) / width : 0;
              const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / width;
              return values.map(
                (v, i) => [y[row * width + i]!, ((v - mean) / Math.sqrt(variance + eps)) * weight[i]! + (bias?.[i] ?? 0)] as const,
              );
            }),
          );
        },
      };
    },
  };
}

function swigluCase(rows: number, width: number): BenchCase {
  return {
    op: "swiglu",
    params: `rows=${rows},width=${width}`,
    flops: 5 * rows * width,
    bytes: 4 * 3 * rows * width,
    ceiling: "copyGBps",
    accuracy: "f32",
    variants: () => ["row"],
    prepare(gpu) {
      const x = new Noise(rows + width).values(rows * 2 * width, 4);
      const input = activationOf(gpu, "x", x, 2 * width, 1);
      return {
        step: { units: rows, start: 0 },
        record: (p) => ({ buffer: swiglu(p, input).buffer, bytes: rows * width * 4 }),
        nmse(output) {
          const silu = (v: number) => v / (1 + Math.exp(-v));
          const expected = (i: number, at = Math.floor(i / width) * 2 * width + (i % width)) => silu(x[at]!) * x[at + width]!;
          return nmse(Array.from(new Float32Array(output), (v, i) => [v, expected(i)] as const));
        },
      };
    },
  };
}

/** qkv of `rows` tokens at the end of a context: q turned, k turned and appended, v appended. Checked: q. */
function ropeCase(rows: number, context: number, heads: number, kvHeads: number, headDim: number): BenchCase {
  const width = (heads + 2 * kvHeads) * headDim;
  return {
    op: "rope",
    params: `rows=${rows},heads=${heads},kv_heads=${kvHeads},dim=${headDim}`,
    flops: 3 * rows * (heads + kvHeads) * headDim,
    bytes: 4 * 2 * rows * width,
    ceiling: "copyGBps",
    accuracy: "f32",
    variants: () => ["append"],
    prepare(gpu) {
      const x = new Noise(rows + width).values(rows * width);
      const table = ropeTable(context, inverseFrequencies(headDim, 1e6));
      const input = activationOf(gpu, "qkv", x, width, 1);
      const rope = storageOf(gpu, "rope", table);
      const storage = () => gpu.memory.create("kv", kvHeads * context * headDim * 4);
      const cache = { keys: storage(), values: storage(), dtype: "f32" as const, rows: 1, kvHeads, headDim, context, row: 0 };
      const start = context - rows;
      const half = headDim / 2;
      return {
        step: { units: rows, start },
        record: (p) => ({ buffer: ropeAppend(p, input, rope, cache, heads).buffer, bytes: rows * heads * headDim * 4 }),
        nmse: (output) =>
          nmse(
            Array.from(new Float32Array(output), (v, i) => {
              const row = Math.floor(i / (heads * headDim));
              const at = row * width + (i % (heads * headDim));
              const j = i % headDim;
              const turn = ((start + row) * half + (j % half)) * 2;
              const other = j < half ? -x[at + half]! : x[at - half]!;
              return [v, x[at]! * table[turn]! + other * table[turn + 1]!] as const;
            }),
          ),
      };
    },
  };
}

function argmaxCase(count: number): BenchCase {
  return {
    op: "argmax",
    params: `count=${count}`,
    flops: count,
    bytes: 4 * count,
    ceiling: "streamGBps",
    accuracy: "exact",
    variants: () => ["greedy"],
    prepare(gpu) {
      const x = new Noise(count).values(count);
      const logits = activationOf(gpu, "logits", x, count, 1);
      const state = createSampleState(gpu.memory, 1, count);
      const best = x.reduce((at, v, i) => (v > x[at]! ? i : at), 0);
      return {
        step: { units: 1, start: 0 },
        record(p) {
          sample(p, logits, state);
          return { buffer: state.next, bytes: 4 };
        },
        nmse: (output) => nmse([[new Uint32Array(output)[0]!, best]]),
      };
    },
  };
}

function embedCase(tokens: number, vocabulary: number, width: number, dtype: MatrixDtype): BenchCase {
  return {
    op: "embed",
    params: `tokens=${tokens},vocab=${vocabulary},width=${width},weights=${dtype}`,
    flops: 0,
    bytes: tokens * width * 6,
    ceiling: "copyGBps",
    accuracy: "exact",
    variants: () => ["gather"],
    prepare(gpu) {
      const noise = new Noise(tokens);
      const data = randomMatrix(noise, dtype, vocabulary, width);
      const table = uploadMatrix(gpu.memory, "table", data);
      const ids = Uint32Array.from({ length: tokens }, () => noise.below(vocabulary));
      const idBuffer = storageOf(gpu, "ids", ids);
      const visual = gpu.memory.create("visual", width * 4);
      const x = activationOf(gpu, "x", new Float32Array(tokens * width), width, 1);
      return {
        step: { units: tokens, start: 0 },
        record(p) {
          embed(p, idBuffer, table, visual, x);
          return { buffer: x.buffer, bytes: tokens * width * 4 };
        },
        nmse: (output) =>
          nmse(Array.from(new Float32Array(output), (v, i) => [v, data.value(ids[Math.floor(i / width)]!, i % width)] as const)),
      };
    },
  };
}

/** Ops of a row or an element, at the shapes of a picture and of a decoded token. */
export const rowCases = (): BenchCase[] => [
  normCase(1025, 1024, true),
  normCase(65, 192, true),
  normCase(512, 2048, false),
  normCase(1, 2048, false),
  ropeCase(512, 2048, 16, 2, 128),
  ropeCase(1, 2048, 16, 2, 128),
  swigluCase(512, 11008),
  swigluCase(1, 11008),
  embedCase(512, 16384, 2048, "bf16"),
  argmaxCase(151674),
];
