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

/** What a step has, or the most that one may have. */
interface Extent {
  batches: number;
  queries: number;
  keys: number;
}

/** Rows of heads that go into panels: lib/heads. */
interface Heads {
  shader: "cpu/attention.pack" | "cpu/attention.pack_values";
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
  /** Rows of a panel. */
  height: number;
  scale: number;
  /** Workgroups for a head, and vec4s that each of them writes. */
  workgroups: (extent: Extent) => readonly [number, number];
  vec4s: number;
}

const rowPanels = ({ queries }: Extent) => Math.ceil(queries / ROWS);
const keyPanels = ({ keys }: Extent) => Math.ceil(keys / COLUMNS);
const headScores = (extent: Extent) => rowPanels(extent) * ROWS * keyPanels(extent) * (COLUMNS / 4); // vec4s

const mostOf = ({ batches, rows, keys }: RowsAttention): Extent => ({ batches, queries: rows, keys });
const extentOf = ({ causal, rows, keys }: RowsAttention, { start, units }: Step): Extent =>
  causal ? { batches: 1, queries: units, keys: start + units } : { batches: units, queries: rows, keys };

function pack(program: Program, a: RowsAttention, from: Heads): GPUTexture {
  const workgroups = (extent: Extent) => [...from.workgroups(extent), extent.batches * from.heads] as const;
  const vec4s = (extent: Extent) => workgroups(extent).reduce((product, count) => product * count, from.vec4s);
  const fill = (out: Bindable) =>
    program.dispatch({
      kernel: { ...kernel(from.shader), libs: ["lib/step", from.reader, lib("heads")], consts: {}, bindings: "uuwrr" },
      params: [
        a.causal ? 0 : a.rows,
        a.causal ? from.counted : 0,
        ...[from.offset, from.batch, from.head, from.stride].map((elements) => elements / 4),
        from.heads,
        a.headDim / 4,
        from.height,
        f32Bits(from.scale),
      ],
      buffers: [out, from.buffer, from.buffer],
      workgroups: (step) => workgroups(extentOf(a, step)),
    });
  return inTextureStorage(program, vec4s(mostOf(a)), (step) => vec4s(extentOf(a, step)), fill);
}

/** Queries, keys and values in panels. */
function packAll(program: Program, a: RowsAttention) {
  const { rows, heads, headDim, qStride } = a;
  const rowsOf8 = { shader: "cpu/attention.pack", vec4s: 2 * headDim } as const;
  const q = pack(program, a, {
    ...{ ...rowsOf8, buffer: a.q, reader: "lib/kv.f32", counted: 1, height: ROWS, scale: 1 / Math.sqrt(headDim) },
    ...{ offset: 0, batch: rows * qStride, head: headDim, stride: qStride, heads },
    workgroups: (extent) => [ROWS / 8, rowPanels(extent)],
  });
  const cached = {
    ...{ reader: kvReader(a), counted: 2 as const, height: COLUMNS, scale: 1 },
    ...{ batch: a.kvBatch, head: a.kvHead, stride: a.kvStride, heads: heads / a.group },
  };
  const k = pack(program, a, {
    ...{ ...rowsOf8, ...cached, buffer: a.k, offset: a.kOffset },
    workgroups: (extent) => [COLUMNS / 8, keyPanels(extent)],
  });
  const v = pack(program, a, {
    ...{ shader: "cpu/attention.pack_values", vec4s: COLUMNS * (COLUMNS / 4), ...cached, buffer: a.v, offset: a.vOffset },
    workgroups: (extent) => [keyPanels(extent), Math.ceil(headDim / COLUMNS)],
  });
  return { q, k, v };
}

/** Heads first .. first + slice, as far as a step has them. */
function attendSlice(
  program: Program,
  a: RowsAttention,
  { q, k, v }: ReturnType<typeof packAll>,
  [first, slice]: readonly [number, number],
  rowMax: Bindable,
): void {
  const { causal, rows, heads, group, headDim } = a;
  const params = [causal ? 0 : rows, causal ? 1 : 0, headDim / 4, first, heads, group];
  const count = ({ batches }: Extent) => Math.max(0, Math.min(slice, batches * heads - first));
  const per = (counts: (extent: Extent) => readonly [number, number, number]) => (step: Step) => counts(extentOf(a, step));
  const libs = ["lib/step", lib("scores"), lib("texture")] as const;
  const consts = { TEXTURE_WIDTH };
  const directives = ["enable subgroups;"];
  const scores = inTextureStorage(
    program,
    slice * headScores(mostOf(a)),
    (step) => count(extentOf(a, step)) * headScores(extentOf(a, step)),
    (out) =>
      program.dispatch({
        kernel: {
          ...{ ...kernel("cpu/attention.scores"), directives, consts, bindings: "uuttw" },
          libs: [...libs, lib("operand.plain"), lib("panels")],
        },
        params,
        buffers: [q, k, out],
        workgroups: per((extent) => [keyPanels(extent), rowPanels(extent), count(extent)]),
      }),
  );
  program.dispatch({
    kernel: { ...kernel("cpu/attention.row_max"), libs, directives: [], consts, bindings: "uutw" },
    params,
    buffers: [scores, rowMax],
    workgroups: per((extent) => [rowPanels(extent) * (ROWS / 8), count(extent), 1]),
  });
  program.dispatch({
    kernel: {
      ...{ ...kernel("cpu/attention.values"), directives, consts, bindings: "uuttrw" },
      libs: [...libs, lib("operand.weights"), lib("panels")],
    },
    params,
    buffers: [scores, v, rowMax, a.out],
    workgroups: per((extent) => [Math.ceil(headDim / COLUMNS), rowPanels(extent), count(extent)]),
  });
}

/**
 * For CPU adapters with subgroups of 8: the scores of some heads at a time as one product of panels, the largest of each query, and the
 * product of their softmax with the values as another. All panels are read from texture storage. They are only as large as the step needs,
 * since they are copied there.
 */
export function panelAttention(program: Program, a: RowsAttention): void {
  const all = a.batches * a.heads;
  const slice = Math.max(1, Math.min(all, Math.floor(SCORES_BYTES / (16 * headScores(mostOf(a))))));
  program.arena.scope(() => {
    const panels = packAll(program, a);
    const rowMax = program.activation("rowMax", { base: slice * rowPanels(mostOf(a)), unit: 0 }, ROWS).buffer;
    for (let first = 0; first < all; first += slice) {
      program.arena.scope(() => attendSlice(program, a, panels, [first, slice], rowMax));
    }
  });
}
