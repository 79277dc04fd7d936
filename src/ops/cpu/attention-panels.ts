import type { Library } from "../../gpu/kernel.ts";
import type { Program, Step } from "../../gpu/program.ts";
import type { Bindable } from "../../tensor/tensor.ts";
import type { RowsAttention } from "../attention-kernels.ts";
import { f32Bits } from "../check.ts";
import { kvReader } from "../kv-cache.ts";
import { kernel, lib } from "./source.ts";
import { inTextureStorage, TEXTURE_WIDTH } from "./texture-storage.ts";

const ROWS = 16; // queries of a panel
const COLUMNS = 64; // keys, or elements of a head, of a panel
const SCORES_BYTES = 2 ** 24; // of the heads whose scores are in memory at once, twice

/** Rows of heads that go into panels: lib/heads. */
interface Heads {
  buffer: Bindable;
  reader: Library;
  /** If causal, which rows there are: 1 the step's own, 2 those before them too. */
  counted: 1 | 2;
  /** In elements. */
  offset: number;
  batch: number;
  head: number;
  stride: number;
  heads: number;
}

/**
 * For CPU adapters with subgroups of 8: the scores of some heads at a time as one product of panels, the largest of each query, and the
 * product of their softmax with the values as another. All panels are read from texture storage. They are only as large as the step needs,
 * since they are copied there.
 */
export function panelAttention(program: Program, a: RowsAttention): void {
  const { causal, rows, keys, heads, group, headDim, batches } = a;
  const vec4s = headDim / 4;
  const columnPanels = Math.ceil(headDim / COLUMNS);
  const kvHeads = heads / group;
  const rowPanels = (queries: number) => Math.ceil(queries / ROWS);
  const keyPanels = (seen: number) => Math.ceil(seen / COLUMNS);
  const headScores = (queries: number, seen: number) => rowPanels(queries) * ROWS * keyPanels(seen) * (COLUMNS / 4); // vec4s
  const slice = Math.max(1, Math.min(batches * heads, Math.floor(SCORES_BYTES / (16 * headScores(rows, keys)))));
  const batchesOf = (step: Step) => (causal ? 1 : step.units);
  const queriesOf = (step: Step) => (causal ? step.units : rows);
  const keysOf = (step: Step) => (causal ? step.start + step.units : keys);
  const stored = (most: number, count: (step: Step) => number, fill: (staged: Bindable) => void) =>
    inTextureStorage(program, most, count, fill);
  const pack =
    (
      shader: "cpu/attention.pack" | "cpu/attention.pack_values",
      from: Heads,
      height: number,
      scale: number,
      workgroups: (step: Step) => readonly [number, number, number],
    ) =>
    (out: Bindable) =>
      program.dispatch({
        kernel: { ...kernel(shader), libs: ["lib/step", from.reader, lib("heads")], consts: {}, bindings: "uuwrr" },
        params: [
          causal ? 0 : rows,
          causal ? from.counted : 0,
          ...[from.offset, from.batch, from.head, from.stride].map((elements) => elements / 4),
          from.heads,
          vec4s,
          height,
          f32Bits(scale),
        ],
        buffers: [out, from.buffer, from.buffer],
        workgroups,
      });

  program.arena.scope(() => {
    const kv = { reader: kvReader(a), counted: 2, batch: a.kvBatch, head: a.kvHead, stride: a.kvStride, heads: kvHeads } as const;
    const queries: Heads = {
      ...{ buffer: a.q, reader: "lib/kv.f32", counted: 1, offset: 0 },
      ...{ batch: rows * a.qStride, head: headDim, stride: a.qStride, heads },
    };
    const q = stored(
      batches * heads * rowPanels(rows) * ROWS * vec4s,
      (step) => batchesOf(step) * heads * rowPanels(queriesOf(step)) * ROWS * vec4s,
      pack("cpu/attention.pack", queries, ROWS, 1 / Math.sqrt(headDim), (step) => [
        ROWS / 8,
        rowPanels(queriesOf(step)),
        batchesOf(step) * heads,
      ]),
    );
    const k = stored(
      batches * kvHeads * keyPanels(keys) * COLUMNS * vec4s,
      (step) => batchesOf(step) * kvHeads * keyPanels(keysOf(step)) * COLUMNS * vec4s,
      pack("cpu/attention.pack", { ...kv, buffer: a.k, offset: a.kOffset }, COLUMNS, 1, (step) => [
        COLUMNS / 8,
        keyPanels(keysOf(step)),
        batchesOf(step) * kvHeads,
      ]),
    );
    const headValues = (seen: number) => columnPanels * keyPanels(seen) * (COLUMNS / 4) * COLUMNS;
    const v = stored(
      batches * kvHeads * headValues(keys),
      (step) => batchesOf(step) * kvHeads * headValues(keysOf(step)),
      pack("cpu/attention.pack_values", { ...kv, buffer: a.v, offset: a.vOffset }, COLUMNS, 1, (step) => [
        keyPanels(keysOf(step)),
        columnPanels,
        batchesOf(step) * kvHeads,
      ]),
    );
    const rowMax = program.activation("rowMax", { base: slice * rowPanels(rows), unit: 0 }, ROWS).buffer;
    for (let first = 0; first < batches * heads; first += slice) {
      program.arena.scope(() => attendSlice(first));
    }

    /** Heads first .. first + slice, as far as a step has them. */
    function attendSlice(first: number): void {
      const params = [causal ? 0 : rows, causal ? 1 : 0, vec4s, first, heads, group];
      const count = (step: Step) => Math.max(0, Math.min(slice, batchesOf(step) * heads - first));
      const common = { directives: ["enable subgroups;"], consts: { TEXTURE_WIDTH } };
      const libs = ["lib/step", lib("scores"), lib("texture")] as const;
      const scores = stored(
        slice * headScores(rows, keys),
        (step) => count(step) * headScores(queriesOf(step), keysOf(step)),
        (out) =>
          program.dispatch({
            kernel: {
              ...common,
              ...kernel("cpu/attention.scores"),
              libs: [...libs, lib("operand.plain"), lib("panels")],
              bindings: "uuttw",
            },
            params,
            buffers: [q, k, out],
            workgroups: (step) => [keyPanels(keysOf(step)), rowPanels(queriesOf(step)), count(step)],
          }),
      );
      program.dispatch({
        kernel: { ...common, ...kernel("cpu/attention.row_max"), libs, directives: [], bindings: "uutw" },
        params,
        buffers: [scores, rowMax],
        workgroups: (step) => [rowPanels(queriesOf(step)) * (ROWS / 8), count(step), 1],
      });
      program.dispatch({
        kernel: {
          ...common,
          ...kernel("cpu/attention.values"),
          libs: [...libs, lib("operand.weights"), lib("panels")],
          bindings: "uuttrw",
        },
        params,
        buffers: [scores, v, rowMax, a.out],
        workgroups: (step) => [columnPanels, rowPanels(queriesOf(step)), count(step)],
      });
    }
  });
}
