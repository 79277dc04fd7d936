import type { Program } from "../gpu/program.ts";
import { matmul } from "../ops/matmul.ts";
import { type NormWeights, norm } from "../ops/norm.ts";
import type { Activation, Matrix, Vector } from "../tensor/tensor.ts";
import type { Weights } from "../weights/weights.ts";

export interface ProjectorWeights {
  norm: NormWeights; // [4C]
  linear1: Matrix; // [H, 4C]
  bias1: Vector; // [H]
  linear3: Matrix; // [H, H]
  bias3: Vector; // [H]
}

/** mlp1 (modeling_internvl_chat.py): LayerNorm, Linear, GELU, Linear. Its eps is torch's default, not the ViT's. */
export function declareProjector(w: Weights, visionWidth: number, width: number): ProjectorWeights {
  const c = 4 * visionWidth;
  return {
    norm: { weight: w.vector("0.weight", c), bias: w.vector("0.bias", c), eps: 1e-5 },
    linear1: w.matrix("1.weight", width, c),
    bias1: w.vector("1.bias", width),
    linear3: w.matrix("3.weight", width, width),
    bias3: w.vector("3.bias", width),
  };
}

/** Unshuffled x [tiles · tokens, 4C] → visual tokens [tiles · tokens, H]. */
export function recordProjector(p: Program, w: ProjectorWeights, x: Activation): Activation {
  const inner = matmul(p, norm(p, x, w.norm), w.linear1, { bias: w.bias1, gelu: true, bounded: true }); // [rows, H]
  return matmul(p, inner, w.linear3, { bias: w.bias3, bounded: true }); // [rows, H]
}
