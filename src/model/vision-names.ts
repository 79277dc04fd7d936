import type { Layout } from "./families.ts";

/** How InternViT's tensors are called; a layer's below `layers.N.`, and each with `.weight`, `.bias` or neither, as vision.ts has it. */
export interface VisionNames {
  classEmbedding: string;
  position: string;
  patch: string;
  layers: string;
  norm1: string;
  norm2: string;
  /** One tensor [3C, C], or q, k and v [C, C] each. */
  qkv: readonly string[];
  qNorm: string;
  kNorm: string;
  proj: string;
  ls1: string;
  ls2: string;
}

/** How each layout calls the vision tower's tensors. */
export const VISION_NAMES: Readonly<Record<Layout, VisionNames>> = {
  original: {
    classEmbedding: "embeddings.class_embedding",
    position: "embeddings.position_embedding",
    patch: "embeddings.patch_embedding",
    layers: "encoder.layers",
    norm1: "norm1",
    norm2: "norm2",
    qkv: ["attn.qkv"],
    qNorm: "attn.q_norm.weight",
    kNorm: "attn.k_norm.weight",
    proj: "attn.proj",
    ls1: "ls1",
    ls2: "ls2",
  },
  huggingface: {
    classEmbedding: "embeddings.cls_token",
    position: "embeddings.position_embeddings",
    patch: "embeddings.patch_embeddings.projection",
    layers: "encoder.layer",
    norm1: "layernorm_before",
    norm2: "layernorm_after",
    qkv: ["attention.q_proj", "attention.k_proj", "attention.v_proj"],
    qNorm: "attention.q_norm.weight",
    kNorm: "attention.k_norm.weight",
    proj: "attention.projection_layer",
    ls1: "lambda_1",
    ls2: "lambda_2",
  },
};
