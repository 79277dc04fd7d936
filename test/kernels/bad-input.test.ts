import { describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import { causalAttention, visionAttention } from "../../src/ops/attention.ts";
import type { KvCache } from "../../src/ops/kv-cache.ts";
import { gatedMatmul, type MatmulOptions, matmul } from "../../src/ops/matmul.ts";
import { norm, qkNorm } from "../../src/ops/norm.ts";
import { type Conversion, convert } from "../../src/ops/quantize.ts";
import { ropeAppend } from "../../src/ops/rope.ts";
import { addPositions, embed, gatherPatches, pixelUnshuffle, swiglu } from "../../src/ops/rowwise.ts";
import { sample } from "../../src/ops/sample.ts";
import { createSampleState } from "../../src/ops/sample-state.ts";
import { fillSynthetic } from "../../src/ops/synth.ts";
import type { Activation, Matrix, MatrixDtype, Rows, Vector } from "../../src/tensor/tensor.ts";
import { useGpu } from "../shared/gpu.ts";

let gpu: Gpu;
let programs: Programs;
useGpu((opened) => {
  gpu = opened;
  programs = new Programs(gpu);
});

const TOKENS: Rows = { base: 0, unit: 1 };
const buffer = (bytes: number): GPUBuffer => gpu.memory.create("test", bytes);
const activation = (p: Program, width: number, rows: Rows = TOKENS): Activation => ({
  label: "x",
  rows,
  width,
  buffer: buffer(p.maxRows(rows) * width * 4),
});
const vector = (length: number): Vector => ({ label: "v", length, buffer: buffer(length * 4) });
const matrix = (n: number, k: number, dtype: MatrixDtype = "f32", bytes = n * k * 4): Matrix => ({
  label: "w",
  shape: [n, k],
  dtype,
  parts: [{ buffer: buffer(bytes), scales: buffer(n * k), rowStart: 0, rows: n }],
});
const cache = (kvHeads: number, headDim: number, context: number): KvCache => {
  const bytes = kvHeads * context * headDim * 4;
  return { keys: buffer(bytes), values: buffer(bytes), dtype: "f32", slots: 1, kvHeads, headDim, context, slot: 0 };
};

/** 64 values of f32 to a part of q8. */
const conversion = (): Conversion => ({
  source: buffer(256),
  from: "f32",
  to: "q8",
  part: { buffer: buffer(64), scales: buffer(4), rowStart: 0, rows: 1 },
  first: 0,
  elements: 64,
  refused: buffer(4),
  counter: 0,
});

type Case = readonly [what: string, units: number, record: (p: Program) => unknown, message: RegExp];

const product = (change: { x?: number; w?: () => Matrix; options?: (p: Program) => MatmulOptions }) => (p: Program) =>
  matmul(p, activation(p, change.x ?? 64), change.w?.() ?? matrix(8, 64), change.options?.(p));

const CASES: readonly Case[] = [
  ["matmul: K no multiple of 4", 2, product({ x: 6, w: () => matrix(8, 6) }), /matmul w: K is 6, f32 needs a positive multiple of 4/],
  ["matmul: K no multiple of 32 in q4", 2, product({ x: 68, w: () => matrix(8, 68, "q4") }), /matmul w: K is 68, q4 needs .* 32/],
  ["matmul: another K", 2, product({ x: 32 }), /matmul w: x has width 32, needs 64/],
  [
    "matmul: a short weight",
    2,
    product({ w: () => matrix(8, 64, "bf16", 512) }),
    /matmul w: w has 512 bytes of storage, its shape needs 1024/,
  ],
  [
    "matmul: q8 without scales",
    2,
    product({ w: () => ({ ...matrix(8, 64, "q8"), parts: [{ buffer: buffer(512), rowStart: 0, rows: 8 }] }) }),
    /matmul w: w is q8 and has no scales/,
  ],
  [
    "matmul: rows that no part has",
    2,
    product({ w: () => ({ ...matrix(8, 64), shape: [9, 64] }) }),
    /matmul w: the parts of w have 8 rows, its shape 9/,
  ],
  ["matmul: a short bias", 2, product({ options: () => ({ bias: vector(4) }) }), /matmul w: v has width 4, needs 8/],
  [
    "matmul: a residual of another width",
    2,
    product({ options: (p) => ({ into: activation(p, 12) }) }),
    /matmul w: x has width 12, needs 8/,
  ],
  [
    "matmul: a residual with fewer rows",
    2,
    product({ options: (p) => ({ into: activation(p, 8, { base: 1, unit: 0 }) }) }),
    /matmul w: x has fewer rows than x/,
  ],
  [
    "matmul: into its own operand",
    2,
    (p) => {
      const x = activation(p, 64);
      matmul(p, x, matrix(64, 64), { into: x });
    },
    /kernel .*matmul.* are one buffer, and it is written/,
  ],
  ["norm: width no multiple of 4", 2, (p) => norm(p, activation(p, 6), { weight: vector(6), eps: 1 }), /norm v: width is 6/],
  ["norm: another width", 2, (p) => norm(p, activation(p, 8), { weight: vector(4), eps: 1 }), /norm v: v has width 4, needs 8/],
  [
    "norm: a short activation",
    9,
    (p) => norm(p, { ...activation(p, 8), buffer: buffer(32) }, { weight: vector(8), eps: 1 }),
    /norm v: x has 32 bytes of storage, its shape needs 288/,
  ],
  [
    "norm: more rows than a grid takes",
    65536,
    (p) => norm(p, activation(p, 4), { weight: vector(4), eps: 1 }, { variant: "workgroup" }),
    /kernel norm\.row .* \[65536, 1, 1\] workgroups, this adapter allows 65535/,
  ],
  [
    "norm: the last of rows that are no tokens",
    2,
    (p) => norm(p, activation(p, 4, { base: 0, unit: 3 }), { weight: vector(4), eps: 1 }, { last: true }),
    /norm v: the last row of x/,
  ],
  ["qk norm: another width", 2, (p) => qkNorm(p, activation(p, 24), vector(8), vector(4), 1), /qk norm v: v has width 4, needs 8/],
  [
    "vision attention: heads too wide",
    1,
    (p) => visionAttention(p, activation(p, 3 * 132, { base: 0, unit: 5 }), 1, 5),
    /vision attention: head width 132 is over 128/,
  ],
  [
    "vision attention: heads that do not divide",
    1,
    (p) => visionAttention(p, activation(p, 3 * 64, { base: 0, unit: 5 }), 3, 5),
    /vision attention: head width is 21\.33/,
  ],
  [
    "vision attention: another number of tokens",
    1,
    (p) => visionAttention(p, activation(p, 3 * 64, { base: 0, unit: 5 }), 1, 6),
    /vision attention: x must have 6 rows a tile/,
  ],
  [
    "causal attention: another width",
    2,
    (p) => causalAttention(p, activation(p, 60), cache(1, 32, 4), 2),
    /causal attention: x has width 60, needs 64/,
  ],
  [
    "causal attention: heads that do not divide",
    2,
    (p) => causalAttention(p, activation(p, 96), cache(2, 32, 4), 3),
    /causal attention: 3 query heads do not divide over 2/,
  ],
  [
    "causal attention: a short cache",
    2,
    (p) => causalAttention(p, activation(p, 32), { ...cache(1, 32, 4), context: 40 }, 1),
    /causal attention: keys has 512 bytes .* needs 5120/,
  ],
  [
    "causal attention: too many heads to a kv head, for a decode step",
    1,
    (p) => causalAttention(p, activation(p, 17 * 4), { ...cache(1, 4, 4), slot: undefined }, 17),
    /causal attention: 17 query heads share a kv head, 16 is the most/,
  ],
  [
    "causal attention: a variant that there is not",
    1,
    (p) => causalAttention(p, activation(p, 4), { ...cache(1, 4, 4), slot: undefined }, 1, { decode: "tree" as never }),
    /causal attention: variant tree does not run on this adapter; it has .*split/,
  ],
  [
    "causal attention: more rows than the cache",
    2,
    (p) => causalAttention(p, activation(p, 4), { ...cache(1, 4, 4), slot: undefined }, 1),
    /causal attention: x has more rows than the cache/,
  ],
  [
    "causal attention: a slot that the cache does not have",
    2,
    (p) => causalAttention(p, activation(p, 4), { ...cache(1, 4, 4), slot: 1 }, 1),
    /causal attention: slot 1 of a cache for 1/,
  ],
  [
    "rope: more rows than the cache",
    2,
    (p) => ropeAppend(p, activation(p, 12), buffer(64), { ...cache(1, 4, 4), slot: undefined }, 1),
    /rope: x has more rows than the cache/,
  ],
  [
    "norm: a variant that there is not",
    1,
    (p) => norm(p, activation(p, 4), { weight: vector(4), eps: 1 }, { variant: "tree" as never }),
    /norm v: variant tree does not run on this adapter; it has workgroup, /,
  ],
  [
    "causal attention: rows that are no tokens",
    2,
    (p) => causalAttention(p, activation(p, 32, { base: 1, unit: 1 }), cache(1, 32, 4), 1),
    /causal attention: x has 1 \+ 1 × units rows/,
  ],
  ["rope: an odd head width", 2, (p) => ropeAppend(p, activation(p, 21), buffer(99), cache(1, 7, 4), 1), /rope: head width is 7/],
  [
    "rope: a short table",
    2,
    (p) => ropeAppend(p, activation(p, 24), buffer(16), cache(1, 8, 4), 1),
    /rope: table has 16 bytes .* needs 128/,
  ],
  ["swiglu: an odd width", 2, (p) => swiglu(p, activation(p, 12)), /swiglu: width is 6/],
  [
    "matmul: into its own operand",
    2,
    (p) => {
      const x = activation(p, 8);
      matmul(p, x, matrix(8, 8), { into: x });
    },
    /kernel .*matmul.* are one buffer, and it is written/,
  ],
  ["embed: width no multiple of 4", 2, (p) => embed(p, buffer(64), matrix(8, 6), buffer(64), activation(p, 6)), /embed: K is 6/],
  ["embed: another width", 2, (p) => embed(p, buffer(64), matrix(8, 8), buffer(64), activation(p, 4)), /embed: x has width 4, needs 8/],
  [
    "patches: a grid that does not fit",
    1,
    (p) => gatherPatches(p, buffer(3 * 28 * 28 * 4), { size: 28, patch: 14, grid: 3 }),
    /patches: 28 pixels are not 3 patches of 14/,
  ],
  [
    "patches: too few pixels",
    2,
    (p) => gatherPatches(p, buffer(64), { size: 28, patch: 14, grid: 2 }),
    /patches: pixels has 64 bytes .* needs 18816/,
  ],
  [
    "patches: more tiles than a grid takes",
    65,
    (p) => gatherPatches(p, buffer(65 * 3 * 32 * 32 * 4), { size: 32, patch: 1, grid: 32 }),
    /kernel patch\.gather .* \[1, 66625, 1\] workgroups/,
  ],
  [
    "positions: too few",
    1,
    (p) => addPositions(p, activation(p, 8, { base: 0, unit: 5 }), vector(8), vector(8)),
    /positions: v has width 8, needs 40/,
  ],
  [
    "pixel unshuffle: an odd grid",
    1,
    (p) => pixelUnshuffle(p, activation(p, 8, { base: 0, unit: 10 }), 3),
    /pixel unshuffle: a grid of 3 patches a side is odd/,
  ],
  [
    "pixel unshuffle: another grid",
    1,
    (p) => pixelUnshuffle(p, activation(p, 8, { base: 0, unit: 5 }), 4),
    /pixel unshuffle: x has 0 \+ 5 rows a tile, needs 17/,
  ],
  [
    "matmul: a dtype that is none",
    2,
    product({ w: () => matrix(8, 64, "i8" as never) }),
    /matmul w: w is i8, which is not a format of weights: f32/,
  ],
  [
    "gated matmul: an odd N",
    2,
    (p) => gatedMatmul(p, activation(p, 64), matrix(7, 64)),
    /matmul w: N is 7, gate and up need an even number/,
  ],
  [
    "matmul: more rows than a grid takes",
    65536,
    (p) => matmul(p, activation(p, 4), matrix(4, 4), { variant: "cpu_gemv_thread" }),
    /matmul w: \[65536, 4\] · \[4, 4\]ᵀ needs 65536 workgroups in a dimension, 65535 are allowed/,
  ],
  ["embed: too few ids", 9, (p) => embed(p, buffer(16), matrix(8, 8), buffer(64), activation(p, 8)), /embed: ids has 16 bytes .* needs 36/],
  [
    "sampling: logits of another width",
    1,
    (p) => sample(p, activation(p, 8), createSampleState(gpu.memory, 1, 16)),
    /sampling: x has width 8, needs 16/,
  ],
  [
    "sampling: more rows than the state has",
    3,
    (p) => sample(p, activation(p, 16), createSampleState(gpu.memory, 2, 16)),
    /sampling: x has 0 \+ 1 × 3 rows from slot 0 on, the state 2 slots/,
  ],
  ["sampling: no vocabulary", 1, () => createSampleState(gpu.memory, 1, 0), /sampling: 1 slots of a vocabulary of 0/],
  [
    "convert: a dtype that is none",
    1,
    (p) => convert(p, { ...conversion(), from: "i8" as never }),
    /convert i8 to q8: i8 is not a stored dtype/,
  ],
  [
    "convert: to a dtype that is none",
    1,
    (p) => convert(p, { ...conversion(), to: "q2" as never }),
    /convert f32 to q2: q2 is not a format/,
  ],
  [
    "convert: no whole group",
    1,
    (p) => convert(p, { ...conversion(), elements: 48 }),
    /convert f32 to q8: elements 0 \+ 48 are not whole units of 32/,
  ],
  ["convert: a short source", 1, (p) => convert(p, { ...conversion(), source: buffer(128) }), /the source has 128 bytes .* needs 256/],
  ["convert: past the end of the part", 1, (p) => convert(p, { ...conversion(), first: 32 }), /the part has 64 bytes .* needs 96/],
  [
    "convert: a part without scales",
    1,
    (p) => convert(p, { ...conversion(), part: { buffer: buffer(64), rowStart: 0, rows: 1 } }),
    /convert f32 to q8: the part has no scales/,
  ],
  [
    "synthetic weights: odd",
    1,
    (p) => fillSynthetic(p, { k1: 1, k2: 2, scale: 1, offset: 0 }, { element: 1, count: 2, out: buffer(16), first: 0 }),
    /synthetic weights: elements 1 \+ 2 to 0: needs even numbers/,
  ],
  [
    "synthetic weights: past the end",
    1,
    (p) => fillSynthetic(p, { k1: 1, k2: 2, scale: 1, offset: 0 }, { element: 0, count: 16, out: buffer(16), first: 0 }),
    /synthetic weights: the target has 16 bytes .* needs 32/,
  ],
];

describe("an op says at once what it does not accept", () => {
  it.each(CASES)("%s", async (_, units, record, message) => {
    const recorded = programs.record("bad", units, (program) => void record(program));
    await expect(recorded).rejects.toMatchObject({ name: "EngineError", message: expect.stringMatching(message) });
  });

  it("names the limit of a binding", async () => {
    const limit = gpu.device.limits.maxStorageBufferBindingSize;
    expect(() => gpu.memory.create("weights", limit + 16)).toThrow(/buffer "weights" needs .* this adapter allows/);
    if (gpu.device.limits.maxBufferSize <= limit) return; // then no such buffer can be made at all
    const large = gpu.device.createBuffer({ label: "large", size: limit + 256, usage: GPUBufferUsage.STORAGE });
    try {
      const rows = { label: "x", rows: TOKENS, width: 8, buffer: large };
      await expect(programs.record("bad", 2, (p) => void swiglu(p, rows))).rejects.toMatchObject({
        code: "limit-exceeded",
        message: expect.stringMatching(new RegExp(`kernel swiglu .*"large".* has ${limit + 256} bytes, this adapter binds ${limit}`)),
      });
    } finally {
      large.destroy();
    }
  });

  it("refuses storage that cannot be bound", async () => {
    const whole = buffer(1024);
    const bad = (storage: Activation["buffer"]) =>
      programs.record("bad", 2, (p) => void swiglu(p, { label: "x", rows: TOKENS, width: 8, buffer: storage }));
    await expect(bad({ buffer: whole, offset: 4 })).rejects.toThrow(/starts at byte 4, needs a multiple of/);
    await expect(bad({ buffer: whole, offset: 256, size: 1024 })).rejects.toThrow(/covers bytes 256 to 1280 of 1024/);
    const other = gpu.memory.create("uniform", 1024, GPUBufferUsage.UNIFORM);
    await expect(bad(other)).rejects.toThrow(/"uniform".* is not a storage buffer/);
  });
});
