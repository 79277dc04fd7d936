import type { Program } from "../gpu/program.ts";
import { matmul } from "../ops/matmul.ts";
import { type NormWeights, norm } from "../ops/norm.ts";
import type { Activation, Matrix, Vector } from "../tensor/tensor.ts";
import type { Weights } from "../weights/weights.ts";
import type { Layout } from "./families.ts";

/** The weights between the vision tower and the decoder: 4C in, H out. */
export interface ProjectorWeights {
  norm: NormWeights; // [4C]
  linear1: Matrix; // [H, 4C]
  bias1: Vector; // [H]
  linear3: Matrix; // [H, H]
  bias3: Vector; // [H]
}

const NAMES: Readonly<Record<Layout, readonly [norm: string, linear1: string, linear3: string]>> = {
  original: ["0", "1", "3"],
  huggingface: ["layer_norm", "linear_1", "linear_2"],
};

/** mlp1 (modeling_internvl_chat.py): LayerNorm, Linear, GELU, Linear. Its eps is torch's default, not the ViT's. */
export function declareProjector(w: Weights, visionWidth: number, width: number, layout: Layout): ProjectorWeights {
  const c = 4 * visionWidth;
  const [norm, linear1, linear3] = NAMES[layout];
  return {
    norm: { weight: w.vector(`${norm}.weight`, c), bias: w.vector(`${norm}.bias`, c), eps: 1e-5 },
    linear1: w.matrix(`${linear1}.weight`, width, c),
    bias1: w.vector(`${linear1}.bias`, width),
    linear3: w.matrix(`${linear3}.weight`, width, width),
    bias3: w.vector(`${linear3}.bias`, width),
  };
}

/** Unshuffled x [tiles · tokens, 4C] → visual tokens [tiles · tokens, H]. */
export function recordProjector(p: Program, w: ProjectorWeights, x: Activation): Activation {
  const inner = matmul(p, norm(p, x, w.norm), w.linear1, { bias: w.bias1, gelu: true, bounded: true }); // [rows, H]
  return matmul(p, inner, w.linear3, { bias: w.bias3, bounded: true }); // [rows, H]
}
