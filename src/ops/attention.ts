import type { Program } from "../gpu/program.ts";
import type { Activation, Bindable } from "../tensor/tensor.ts";
import { need, needActivation, needQuads, needRoom, needTokens } from "./check.ts";

const BLOCK = 64; // queries a workgroup
const MAX_HEAD = 128; // 16 keys and values of this width fill the 16 KiB of workgroup memory that every adapter has

/** Keys (after rope) and values of one layer: f32 [kvHeads, context, headDim] each. */
export interface KvCache {
  keys: Bindable;
  values: Bindable;
  kvHeads: number;
  headDim: number;
  context: number;
}

function needHead(op: string, headDim: number): void {
  needQuads(op, "head width", headDim);
  need(headDim <= MAX_HEAD, op, `head width ${headDim} is over ${MAX_HEAD}`);
}

/** Where attention.flash finds queries, keys and values, in elements; the fields in the shader's order. */
interface FlashLayout {
  heads: number;
  group: number;
  qRows: number;
  qStride: number;
  kOffset: number;
  vOffset: number;
  kvBatch: number;
  kvHead: number;
  kvStride: number;
}

const flashParams = (l: FlashLayout): number[] => [
  l.heads,
  l.group,
  l.qRows,
  l.qStride,
  l.kOffset,
  l.vOffset,
  l.kvBatch,
  l.kvHead,
  l.kvStride,
];

/** Attention of every token to every token of its own tile: qkv [tiles · tokens, 3 · heads · headDim] → [tiles · tokens, heads · headDim]. */
export function visionAttention(program: Program, qkv: Activation, heads: number, tokens: number): Activation {
  const op = "vision attention";
  const width = qkv.width / 3;
  const headDim = width / heads;
  needHead(op, headDim);
  need(qkv.rows.unit === tokens && qkv.rows.base === 0, op, `${qkv.label} must have ${tokens} rows a tile`);
  needActivation(program, op, qkv);
  const out = program.activation("attention", qkv.rows, width);
  program.dispatch({
    kernel: {
      shader: "attention.flash",
      libs: ["lib/step"],
      consts: { D: headDim, CAUSAL: false },
      bindings: "uurrrw",
    },
    params: flashParams({
      heads,
      group: 1,
      qRows: tokens,
      qStride: 3 * width,
      kOffset: width,
      vOffset: 2 * width,
      kvBatch: tokens * 3 * width,
      kvHead: headDim,
      kvStride: 3 * width,
    }),
    buffers: [qkv.buffer, qkv.buffer, qkv.buffer, out.buffer],
    workgroups: (step) => [Math.ceil(tokens / BLOCK), heads, step.units],
  });
  return out;
}

/** Causal attention of the step's tokens over the cache: q [tokens, heads · headDim] → the same shape. */
export function causalAttention(program: Program, q: Activation, cache: KvCache, heads: number): Activation {
  const op = "causal attention";
  const { keys, values, kvHeads, headDim, context } = cache;
  needHead(op, headDim);
  needActivation(program, op, q, heads * headDim);
  needTokens(op, q);
  needRoom(op, "keys", keys, kvHeads * context * headDim * 4);
  needRoom(op, "values", values, kvHeads * context * headDim * 4);
  need(heads % kvHeads === 0, op, `${heads} query heads do not divide over ${kvHeads} kv heads`);
  const out = program.activation("attention", q.rows, q.width);
  const group = heads / kvHeads;
  const buffers = [q.buffer, keys, values, out.buffer];
  if (program.maxRows(q.rows) === 1) {
    program.dispatch({
      kernel: { shader: "attention.decode", libs: ["lib/step"], consts: { D: headDim }, bindings: "uurrrw" },
      params: [heads, group, context],
      buffers,
      workgroups: () => [heads, 1, 1],
    });
  } else {
    program.dispatch({
      kernel: {
        shader: "attention.flash",
        libs: ["lib/step"],
        consts: { D: headDim, CAUSAL: true },
        bindings: "uurrrw",
      },
      params: flashParams({
        heads,
        group,
        qRows: 0,
        qStride: heads * headDim,
        kOffset: 0,
        vOffset: 0,
        kvBatch: 0,
        kvHead: context * headDim,
        kvStride: headDim,
      }),
      buffers,
      workgroups: (step) => [Math.ceil(step.units / BLOCK), heads, 1],
    });
  }
  return out;
}
