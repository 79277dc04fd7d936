import { type Program, rowsOf } from "../gpu/program.ts";
import type { Activation, Bindable, Vector } from "../tensor/tensor.ts";
import { f32Bits, need, needActivation, needRoom, needTokens, needVec4s, needVector } from "./check.ts";
import { type KvCache, kvWriter, needCache } from "./kv-cache.ts";

/** theta^(-2i/headDim), f32 [headDim / 2], rounded as upstream's Qwen2RotaryEmbedding does. */
export function inverseFrequencies(headDim: number, theta: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => 1 / Math.fround(theta ** ((2 * i) / headDim)));
}

/**
 * (cos, sin) · scale of position · inverse[i], f32 [positions, headDim / 2, 2]. The angle is rounded to f32 first, as upstream's is. Made
 * on the CPU: WGSL's own sin and cos are only good to 2^-11.
 */
export function ropeTable(positions: number, inverse: Float32Array, scale = 1): Float32Array<ArrayBuffer> {
  const half = inverse.length;
  const table = new Float32Array(positions * half * 2);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * inverse[i]!);
      table[(position * half + i) * 2] = scale * Math.cos(angle);
      table[(position * half + i) * 2 + 1] = scale * Math.sin(angle);
    }
  }
  return table;
}

/** RMSNorm of every head of q and k before rope (Qwen3). */
export interface HeadNorm {
  weight: Vector; // [2 · headDim]: q's | k's
  eps: number;
}

/** @throws EngineError bad-input where the operands of rope do not fit */
export function needRope(program: Program, op: string, qkv: Activation, table: Bindable, cache: KvCache, heads: number): void {
  const { slots, slot, kvHeads, headDim, context } = cache;
  needVec4s(op, "head width", headDim);
  needActivation(program, op, qkv, (heads + 2 * kvHeads) * headDim);
  needTokens(op, qkv);
  needRoom(op, "table", table, context * headDim * 4);
  needCache(op, cache);
  need(slot !== undefined || program.maxRows(qkv.rows) <= slots, op, `${qkv.label} has more rows than the cache has slots`);
}

/**
 * Norms (with `headNorm`) and rotates q and k of qkv [tokens, (heads + 2 kvHeads) · headDim], appends k and v to the cache, returns
 * q [tokens, heads · headDim]. The tokens are those of the cache's `slot`, or one of each of its slots.
 */
export function ropeAppend(
  program: Program,
  qkv: Activation,
  table: Bindable,
  cache: KvCache,
  heads: number,
  headNorm?: HeadNorm,
): Activation {
  const { keys, values, slot, kvHeads, headDim, context } = cache;
  needRope(program, "rope", qkv, table, cache, heads);
  if (headNorm) needVector("rope", headNorm.weight, 2 * headDim);
  const q = program.activation("q", qkv.rows, heads * headDim);
  program.dispatch({
    kernel: {
      shader: "rope.append",
      libs: [
        "lib/step",
        ...(headNorm ? (["lib/total.barrier", "lib/head_norm.rms"] as const) : (["lib/head_norm.none"] as const)),
        ...kvWriter(cache),
      ],
      consts: { THREADS: 64 },
      bindings: headNorm ? "uurrwwwr" : "uurrwww",
    },
    params: [headDim / 4, heads, kvHeads, context, slot ?? 0, slot === undefined ? 1 : 0, f32Bits(headNorm?.eps ?? 0)],
    buffers: [qkv.buffer, table, q.buffer, keys, values, ...(headNorm ? [headNorm.weight.buffer] : [])],
    workgroups: (step) => [rowsOf(qkv.rows, step), heads + 2 * kvHeads, 1],
  });
  return q;
}
