import type { LanguageConfig, ModelConfig, VisionConfig } from "./config.ts";

/** A tensor of a checkpoint, by name. */
export interface TensorShape {
  name: string;
  shape: number[];
}

type Add = (name: string, ...shape: number[]) => void;

function visionTensors(add: Add, v: VisionConfig): void {
  const c = v.hiddenSize;
  const norm = (name: string) => {
    add(`${name}.weight`, c);
    if (v.norm === "layer_norm") add(`${name}.bias`, c);
  };
  add("vision_model.embeddings.class_embedding", 1, 1, c);
  add("vision_model.embeddings.position_embedding", 1, 1 + (v.imageSize / v.patchSize) ** 2, c);
  add("vision_model.embeddings.patch_embedding.weight", c, 3, v.patchSize, v.patchSize);
  add("vision_model.embeddings.patch_embedding.bias", c);
  for (let i = 0; i < v.layers; i++) {
    const layer = `vision_model.encoder.layers.${i}`;
    add(`${layer}.ls1`, c);
    add(`${layer}.ls2`, c);
    add(`${layer}.attn.qkv.weight`, 3 * c, c);
    if (v.qkvBias) add(`${layer}.attn.qkv.bias`, 3 * c);
    if (v.qkNorm) {
      add(`${layer}.attn.q_norm.weight`, c);
      add(`${layer}.attn.k_norm.weight`, c);
    }
    add(`${layer}.attn.proj.weight`, c, c);
    add(`${layer}.attn.proj.bias`, c);
    add(`${layer}.mlp.fc1.weight`, v.intermediateSize, c);
    add(`${layer}.mlp.fc1.bias`, v.intermediateSize);
    add(`${layer}.mlp.fc2.weight`, c, v.intermediateSize);
    add(`${layer}.mlp.fc2.bias`, c);
    norm(`${layer}.norm1`);
    norm(`${layer}.norm2`);
  }
}

function qwen2Tensors(add: Add, l: LanguageConfig): void {
  const h = l.hiddenSize;
  add("language_model.model.embed_tokens.weight", l.vocabSize, h);
  for (let i = 0; i < l.layers; i++) {
    const layer = `language_model.model.layers.${i}`;
    for (const [name, heads] of [
      ["q", l.heads],
      ["k", l.kvHeads],
      ["v", l.kvHeads],
    ] as const) {
      add(`${layer}.self_attn.${name}_proj.weight`, heads * l.headDim, h);
      if (l.qkvBias) add(`${layer}.self_attn.${name}_proj.bias`, heads * l.headDim);
    }
    add(`${layer}.self_attn.o_proj.weight`, h, l.heads * l.headDim);
    add(`${layer}.mlp.gate_proj.weight`, l.intermediateSize, h);
    add(`${layer}.mlp.up_proj.weight`, l.intermediateSize, h);
    add(`${layer}.mlp.down_proj.weight`, h, l.intermediateSize);
    add(`${layer}.input_layernorm.weight`, h);
    add(`${layer}.post_attention_layernorm.weight`, h);
  }
  add("language_model.model.norm.weight", h);
  if (!l.tied) add("language_model.lm_head.weight", l.vocabSize, h);
}

function internLm2Tensors(add: Add, l: LanguageConfig): void {
  const h = l.hiddenSize;
  add("language_model.model.tok_embeddings.weight", l.vocabSize, h);
  for (let i = 0; i < l.layers; i++) {
    const layer = `language_model.model.layers.${i}`;
    add(`${layer}.attention.wqkv.weight`, (l.heads + 2 * l.kvHeads) * l.headDim, h);
    add(`${layer}.attention.wo.weight`, h, l.heads * l.headDim);
    add(`${layer}.feed_forward.w1.weight`, l.intermediateSize, h);
    add(`${layer}.feed_forward.w3.weight`, l.intermediateSize, h);
    add(`${layer}.feed_forward.w2.weight`, h, l.intermediateSize);
    add(`${layer}.attention_norm.weight`, h);
    add(`${layer}.ffn_norm.weight`, h);
  }
  add("language_model.model.norm.weight", h);
  if (!l.tied) add("language_model.output.weight", l.vocabSize, h);
}

/** Every tensor that a checkpoint of this configuration holds. */
export function checkpointTensors(config: ModelConfig): TensorShape[] {
  const tensors: TensorShape[] = [];
  const add: Add = (name, ...shape) => tensors.push({ name, shape });
  visionTensors(add, config.vision);
  const wide = 4 * config.vision.hiddenSize;
  const h = config.language.hiddenSize;
  add("mlp1.0.weight", wide);
  add("mlp1.0.bias", wide);
  add("mlp1.1.weight", h, wide);
  add("mlp1.1.bias", h);
  add("mlp1.3.weight", h, h);
  add("mlp1.3.bias", h);
  if (config.language.architecture === "Qwen2ForCausalLM") qwen2Tensors(add, config.language);
  else internLm2Tensors(add, config.language);
  return tensors;
}
