import { TEXELS_WIDE } from "../gpu/memory.ts";
import type { Program, Step } from "../gpu/program.ts";
import type { ShaderName } from "../gpu/shaders.gen.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { f32Bits } from "./check.ts";

const ROWS = 16; // queries of a panel
const COLUMNS = 64; // keys, or elements of a head, of a panel
const SCORES_BYTES = 2 ** 25; // of the heads whose scores are in memory at once

/** Attention of many rows, as every kernel for it has to know it; offsets and strides in elements. */
export interface RowsAttention {
  causal: boolean;
  /** Queries, and keys, of a batch; causal: the most of them. */
  rows: number;
  keys: number;
  heads: number;
  group: number;
  headDim: number;
  batches: number;
  q: Bindable;
  qStride: number;
  k: Bindable;
  v: Bindable;
  /** The library that reads quads of keys and values. */
  reader: ShaderName;
  kOffset: number;
  vOffset: number;
  kvBatch: number;
  kvHead: number;
  kvStride: number;
  out: Bindable;
}

/**
 * For CPU adapters with subgroups of 8: the scores of some heads at a time as one product of panels, softmax, and their
 * product with the values as another, by the same kernel. Nothing is fused: what that would save costs little on a CPU, and its tiles are what counts.
 */
export function panelAttention(program: Program, a: RowsAttention): void {
  const { causal, rows, keys, heads, group, headDim } = a;
  const quads = headDim / 4;
  const rowPanels = Math.ceil(rows / ROWS);
  const keyPanels = Math.ceil(keys / COLUMNS);
  const capacity = keyPanels * (COLUMNS / 4);
  const columnPanels = Math.ceil(headDim / COLUMNS);
  const kvHeads = heads / group;
  const headScores = rowPanels * ROWS * capacity * 4;
  const slice = Math.max(1, Math.min(a.batches * heads, Math.floor(SCORES_BYTES / (headScores * 4))));
  const batchesOf = (step: Step) => (causal ? 1 : step.units);
  const queriesOf = (step: Step) => (causal ? step.units : rows);
  const keysOf = (step: Step) => (causal ? step.start + step.units : keys);

  const pack = (
    shader: ShaderName,
    from: {
      buffer: Bindable;
      reader: ShaderName;
      counted: number;
      offset: number;
      batch: number;
      head: number;
      stride: number;
      heads: number;
    },
    to: { texels: GPUTexture; depth: number; panels: number; height: number; scale: number },
    workgroups: (step: Step) => readonly [number, number, number],
  ) =>
    program.dispatch({
      kernel: { shader, libs: ["lib/step", from.reader, "lib/texels", "lib/heads"], consts: { TEXELS_WIDE }, bindings: "uuorr" },
      params: [
        causal ? 0 : rows,
        causal ? from.counted : 0,
        ...[from.offset, from.batch, from.head, from.stride].map((elements) => elements / 4),
        from.heads,
        quads,
        to.depth,
        to.panels,
        to.height,
        f32Bits(to.scale),
      ],
      buffers: [to.texels, from.buffer, from.buffer],
      workgroups,
    });

  program.arena.scope(() => {
    const q = program.arena.takeTexels(a.batches * heads * rowPanels * ROWS * quads);
    const k = program.arena.takeTexels(a.batches * kvHeads * keyPanels * COLUMNS * quads);
    const v = program.arena.takeTexels(a.batches * kvHeads * columnPanels * COLUMNS * capacity);
    const scores = program.arena.takeTexels((slice * headScores) / 4);
    const tops = program.activation("tops", { base: slice * rowPanels, unit: 0 }, ROWS).buffer;
    const kv = { reader: a.reader, counted: 2, batch: a.kvBatch, head: a.kvHead, stride: a.kvStride, heads: kvHeads };
    pack(
      "attention.pack",
      { buffer: a.q, reader: "lib/kv.f32", counted: 1, offset: 0, batch: rows * a.qStride, head: headDim, stride: a.qStride, heads },
      { texels: q, depth: quads, panels: rowPanels, height: ROWS, scale: 1 / Math.sqrt(headDim) },
      (step) => [ROWS / 8, Math.ceil(queriesOf(step) / ROWS), batchesOf(step) * heads],
    );
    pack(
      "attention.pack",
      { ...kv, buffer: a.k, offset: a.kOffset },
      { texels: k, depth: quads, panels: keyPanels, height: COLUMNS, scale: 1 },
      (step) => [COLUMNS / 8, Math.ceil(keysOf(step) / COLUMNS), batchesOf(step) * kvHeads],
    );
    pack(
      "attention.pack_values",
      { ...kv, buffer: a.v, offset: a.vOffset },
      { texels: v, depth: capacity, panels: columnPanels, height: COLUMNS, scale: 1 },
      (step) => [Math.ceil(keysOf(step) / COLUMNS), columnPanels, batchesOf(step) * kvHeads],
    );
    for (let first = 0; first < a.batches * heads; first += slice) {
      const sizes = [causal ? 0 : rows, causal ? 1 : 0, rowPanels, capacity, quads, first, heads, group];
      /** Heads of this slice that a step has. */
      const count = (step: Step) => Math.max(0, Math.min(slice, batchesOf(step) * heads - first));
      const products = {
        libs: ["lib/step", "lib/scores", "lib/texels"],
        directives: ["enable subgroups;"],
        consts: { TEXELS_WIDE },
      } as const;
      program.dispatch({
        kernel: { ...products, shader: "attention.scores", libs: [...products.libs, "lib/operand.plain", "lib/panels"], bindings: "uuiio" },
        params: sizes,
        buffers: [q, k, scores],
        workgroups: (step) => [Math.ceil(keysOf(step) / COLUMNS), Math.ceil(queriesOf(step) / ROWS), count(step)],
      });
      program.dispatch({
        kernel: { ...products, shader: "attention.tops", directives: [], bindings: "uuiw" },
        params: sizes,
        buffers: [scores, tops],
        workgroups: (step) => [Math.ceil(queriesOf(step) / ROWS) * (ROWS / 8), count(step), 1],
      });
      program.dispatch({
        kernel: {
          ...products,
          shader: "attention.values",
          libs: [...products.libs, "lib/operand.weights", "lib/panels"],
          bindings: "uuiirw",
        },
        params: sizes,
        buffers: [scores, v, tops, a.out],
        workgroups: (step) => [columnPanels, Math.ceil(queriesOf(step) / ROWS), count(step)],
      });
    }
  });
}
