import type { Program, Tap } from "../gpu/program.ts";
import { visionAttention } from "../ops/attention.ts";
import { matmul } from "../ops/matmul.ts";
import { type NormWeights, norm, qkNorm } from "../ops/norm.ts";
import { addPositions, gatherPatches } from "../ops/rowwise.ts";
import type { Activation, Matrix, Vector } from "../tensor/tensor.ts";
import type { Weights } from "../weights/weights.ts";
import type { VisionConfig } from "./config.ts";
import type { VisionNames } from "./vision-names.ts";

interface VisionLayer {
  norm1: NormWeights;
  qkv: Matrix; // [3C, C]
  qkvBias: Vector | undefined; // [3C]
  qNorm: Vector | undefined; // [C], InternViT-6B
  kNorm: Vector | undefined; // [C]
  proj: Matrix; // [C, C]
  projBias: Vector; // [C]
  ls1: Vector; // [C]
  norm2: NormWeights;
  fc1: Matrix; // [I, C]
  fc1Bias: Vector; // [I]
  fc2: Matrix; // [C, I]
  fc2Bias: Vector; // [C]
  ls2: Vector; // [C]
}

/** The weights of the vision tower. */
export interface VisionWeights {
  patch: Matrix; // [C, 3 · patch²]
  patchBias: Vector; // [C]
  classEmbedding: Vector; // [C]
  /** [1 + grid², C] for the stored grid; stays on the CPU, resized for each tile size in use. */
  position: Float32Array<ArrayBuffer>;
  layers: VisionLayer[];
}

function declareNorm(w: Weights, name: string, { hiddenSize: c, norm: kind, eps }: VisionConfig): NormWeights {
  const weight = w.vector(`${name}.weight`, c);
  return { weight, bias: kind === "layer_norm" ? w.vector(`${name}.bias`, c) : undefined, eps };
}

/** One layer of InternViT (modeling_intern_vit.py, InternVisionEncoderLayer). */
export function declareVisionLayer(w: Weights, config: VisionConfig, names: VisionNames): VisionLayer {
  const { hiddenSize: c, intermediateSize: i } = config;
  const rows = (3 * c) / names.qkv.length;
  return {
    norm1: declareNorm(w, names.norm1, config),
    qkv: w.matrices(
      names.qkv.map((name) => ({ name: `${name}.weight`, rows })),
      c,
    ),
    qkvBias: config.qkvBias ? w.vectors(names.qkv.map((name) => [`${name}.bias`, [rows]])) : undefined,
    qNorm: config.qkNorm ? w.vector(names.qNorm, c) : undefined,
    kNorm: config.qkNorm ? w.vector(names.kNorm, c) : undefined,
    proj: w.matrix(`${names.proj}.weight`, c, c),
    projBias: w.vector(`${names.proj}.bias`, c),
    ls1: w.vector(names.ls1, c),
    norm2: declareNorm(w, names.norm2, config),
    fc1: w.matrix("mlp.fc1.weight", i, c),
    fc1Bias: w.vector("mlp.fc1.bias", i),
    fc2: w.matrix("mlp.fc2.weight", c, i),
    fc2Bias: w.vector("mlp.fc2.bias", c),
    ls2: w.vector(names.ls2, c),
  };
}

/** InternViT's tensors; `layers` of them are used (select_layer). */
export function declareVision(w: Weights, config: VisionConfig, layers: number, names: VisionNames): VisionWeights {
  const { hiddenSize: c, patchSize: p } = config;
  const encoder = w.at(names.layers);
  return {
    classEmbedding: w.vectors([[names.classEmbedding, [1, 1, c]]]),
    position: w.values(names.position, [1, 1 + (config.imageSize / p) ** 2, c]),
    patch: w.matrix(`${names.patch}.weight`, c, 3 * p * p, [c, 3, p, p]),
    patchBias: w.vector(`${names.patch}.bias`, c),
    layers: Array.from({ length: layers }, (_, i) => declareVisionLayer(encoder.at(i), config, names)),
  };
}

/** pixels f32 [tiles, 3, size, size] → x [tiles · tokens, C]: patches, class token, positions. */
export function recordVisionEmbeddings(
  p: Program,
  w: VisionWeights,
  pixels: GPUBuffer,
  position: Vector,
  size: number,
  patch: number,
): Activation {
  const patches = gatherPatches(p, pixels, { size, patch, grid: size / patch }); // [tiles · tokens, 3 · patch²]
  const x = matmul(p, patches, w.patch, { bias: w.patchBias, bounded: true }); // [tiles · tokens, C]
  addPositions(p, x, w.classEmbedding, position);
  return x;
}

/** Every product here has a bounded x (ops/needs.ts): normed, or what vision makes of it. X += ls1 · Attn(norm1(X));  X += ls2 · MLP(norm2(X)), in place. */
export function recordVisionLayer(p: Program, w: VisionLayer, x: Activation, config: VisionConfig): void {
  p.arena.scope(() => {
    const qkv = matmul(p, norm(p, x, w.norm1), w.qkv, { bias: w.qkvBias, bounded: true }); // [rows, 3C]
    if (w.qNorm && w.kNorm) qkNorm(p, qkv, w.qNorm, w.kNorm, config.eps);
    const heads = visionAttention(p, qkv, config.heads, x.rows.unit); // [rows, C]
    matmul(p, heads, w.proj, { bias: w.projBias, scale: w.ls1, into: x, bounded: true });
  });
  p.arena.scope(() => {
    const inner = matmul(p, norm(p, x, w.norm2), w.fc1, { bias: w.fc1Bias, gelu: true, bounded: true }); // [rows, I]
    matmul(p, inner, w.fc2, { bias: w.fc2Bias, scale: w.ls2, into: x, bounded: true });
  });
}

/** The whole tower: pixels → the selected layer's output [tiles · tokens, C]. */
export function recordVision(
  p: Program,
  w: VisionWeights,
  config: VisionConfig,
  pixels: GPUBuffer,
  position: Vector,
  size: number,
  tap?: Tap,
): Activation {
  const x = recordVisionEmbeddings(p, w, pixels, position, size, config.patchSize);
  tap?.("vit.embeddings", x, p);
  for (const [i, layer] of w.layers.entries()) {
    recordVisionLayer(p, layer, x, config);
    tap?.(`vit.layer.${i}`, x, p);
  }
  return x;
}
