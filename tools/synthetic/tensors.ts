import type { SyntheticRule } from "../../src/ops/synth.ts";
import { elementsOf } from "../../src/tensor/tensor.ts";

/** The multipliers of Murmur3's finaliser. */
const M1 = 0x85ebca6b;
const M2 = 0xc2b2ae35;

function fnv1a32(text: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

function fmix32(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, M1);
  h ^= h >>> 13;
  h = Math.imul(h, M2);
  h ^= h >>> 16;
  return h >>> 0;
}

/** Scale and offset of a tensor's uniform distribution: the first rule that matches its name and shape. */
function distribution(name: string, shape: readonly number[]): { scale: number; offset: number } {
  const last = name.split(".").at(-1);
  if (name.startsWith("input.pixel_values")) return { scale: 2, offset: 0 };
  if (name.startsWith("input.")) return { scale: 1, offset: 0 };
  if (last === "ls1" || last === "ls2") return { scale: 0.0625, offset: 0.1875 };
  if (last === "bias") return { scale: 0.0625, offset: 0 };
  if (last === "class_embedding") return { scale: 1, offset: 0 };
  if (last === "position_embedding") return { scale: 0.5, offset: 0 };
  if (/(embed_tokens|tok_embeddings)\.weight$/.test(name)) return { scale: 0.125, offset: 0 };
  if (shape.length === 1) return { scale: 0.125, offset: 1 };
  const fan = elementsOf(shape.slice(1));
  const bits = 32 - Math.clz32(fan);
  const scale = 2 ** -((bits - 2) >> 1);
  return { scale: name.endsWith("q_proj.weight") ? 2 * scale : scale, offset: 0 };
}

/** The keys and the distribution of a tensor, which its name, its shape and the seed decide. */
export function syntheticRule(name: string, shape: readonly number[], seed: number): SyntheticRule {
  const k1 = (fnv1a32(name) ^ seed) >>> 0;
  return { k1, k2: fmix32(k1 ^ 0x5bf03635), ...distribution(name, shape) };
}

/**
 * Elements first … first + count of the synthetic tensor `name` of `shape`, as bf16 bits (facts/SYNTHETIC.md): a hash of
 * the flat index, so that any part can be made on its own.
 */
export function synthesize(name: string, shape: readonly number[], seed: number, first: number, count: number): Uint16Array<ArrayBuffer> {
  const { k1, k2, scale, offset } = syntheticRule(name, shape, seed);
  const factor = scale * 2 ** -23;
  const out = new Uint16Array(count);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  for (let i = 0; i < count; i++) {
    let h = (Math.imul(first + i, 0x9e3779b9) + k1) | 0;
    h ^= h >>> 16;
    h = Math.imul(h, M1);
    h ^= k2;
    h ^= h >>> 13;
    h = Math.imul(h, M2);
    h ^= h >>> 16;
    float[0] = ((h >>> 8) - 8388608) * factor + offset;
    out[i] = (bits[0]! + 0x7fff + ((bits[0]! >>> 16) & 1)) >>> 16; // round to nearest even
  }
  return out;
}
