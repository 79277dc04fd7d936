import type { Gpu } from "../gpu/device.ts";
import type { Program, Step } from "../gpu/program.ts";
import type { Activation, Bindable } from "../tensor/tensor.ts";
import type { Ceilings } from "./bench-ceilings.ts";
import type { MatrixData } from "./bench-data.ts";

/** What a case computes and on which numbers: enough for another library to do the same. Everything is f32 but the weights of matmul. */
export type PeerSpec =
  /** x [m, k] · wᵀ, w [n, k] */
  | { op: "matmul"; m: number; x: Float32Array<ArrayBuffer>; w: MatrixData }
  /** Every token of a tile sees every token; qkv [tokens, 3 heads headDim] */
  | { op: "attention"; tokens: number; heads: number; headDim: number; qkv: Float32Array<ArrayBuffer> }
  /** The last `tokens` of `context` positions; q [tokens, heads headDim], keys and values [kvHeads, context, headDim] */
  | {
      op: "causal";
      tokens: number;
      context: number;
      heads: number;
      kvHeads: number;
      headDim: number;
      q: Float32Array<ArrayBuffer>;
      keys: Float32Array<ArrayBuffer>;
      values: Float32Array<ArrayBuffer>;
    }
  /** x [rows, weight.length]; with a bias LayerNorm, without RMSNorm */
  | {
      op: "norm";
      rows: number;
      eps: number;
      x: Float32Array<ArrayBuffer>;
      weight: Float32Array<ArrayBuffer>;
      bias: Float32Array<ArrayBuffer> | undefined;
    };

/** A case with its data on the GPU. */
export interface PreparedCase {
  step: Step;
  /** Records the op, without a variant as the engine would; the output is `bytes` bytes from the start of the buffer. */
  record(program: Program, variant: string | undefined): { buffer: Bindable; bytes: number };
  /** NMSE of samples of an output against the float64 reference. */
  nmse(output: ArrayBuffer): number;
  /** For the peers; undefined where none has such an op. */
  spec?: PeerSpec;
}

/** What a case is meant to reach: `least` times the speed of every peer whose name contains `over`, or this share of its ceiling. */
export type Goal = { over: "" | "onnxruntime" | "jax"; least: number } | { ofCeiling: number };

export interface BenchCase {
  op: string;
  goals?: readonly Goal[];
  /** Takes a CPU adapter many seconds: timed only where the full set is asked for. */
  full?: boolean;
  /** `m=1024,n=2048,…` */
  params: string;
  flops: number;
  /** Read and written, every operand once. */
  bytes: number;
  /** What bounds it. */
  ceiling: keyof Ceilings;
  /** f32: only rounding. quantized: a kernel may quantise the activations too. exact: an index. */
  accuracy: "f32" | "quantized" | "exact";
  variants(gpu: Gpu): readonly string[];
  /** Which of them the engine takes by itself; the first where absent. */
  chosen?(gpu: Gpu): string;
  prepare(gpu: Gpu): PreparedCase;
}

/** An f32 activation with these values: rows a unit, as in the model. */
export function activationOf(gpu: Gpu, label: string, data: Float32Array<ArrayBuffer>, width: number, unit: number): Activation {
  const buffer = gpu.memory.create(label, data.byteLength);
  gpu.memory.write(buffer, 0, data);
  return { label, rows: { base: 0, unit }, width, buffer };
}

export function storageOf(gpu: Gpu, label: string, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer {
  const buffer = gpu.memory.create(label, data.byteLength);
  gpu.memory.write(buffer, 0, data);
  return buffer;
}
