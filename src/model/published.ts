import type { Architecture, Layout } from "./families.ts";

interface Published {
  models: string;
  layout: Layout;
  decoder: Architecture;
  /** config.json's `template`; of transformers' layout the chat template. */
  templates: readonly string[];
  tokenizer: string;
  stop: string;
  /** What in test/fixtures it was compared with. */
  checked: string;
}

const SLOW = { layout: "original", tokenizer: "vocab.json, merges.txt", stop: "<|im_end|>" } as const;
const PIECES = { ...SLOW, tokenizer: "tokenizer.model" } as const;
const HF = { layout: "huggingface", templates: ["huggingface"], tokenizer: "tokenizer.json", stop: "generation_config.json" } as const;

/** Published models that load, by what tells them apart. README's table and docs/models.md are this one, a test holds them to it. */
export const MODELS: readonly Published[] = [
  {
    models: "InternVL2_5-1B, -4B, -38B, -78B; InternVL3-1B, -2B, -8B, -14B, -38B, -78B",
    ...{ ...SLOW, decoder: "Qwen2ForCausalLM", templates: ["internvl2_5"] },
    checked: "tiny-qwen, tiny-qwen-tied, tiny-vit6b, layers-4b, full-4b",
  },
  {
    models: "InternVL3_5-1B, -2B, -4B, -8B, -14B, -38B",
    ...{ ...SLOW, decoder: "Qwen3ForCausalLM", templates: ["internvl2_5"] },
    checked: "tiny-qwen3",
  },
  {
    models: "InternVL2_5-2B, -8B, -26B",
    ...{ ...PIECES, decoder: "InternLM2ForCausalLM", templates: ["internvl2_5"] },
    checked: "tiny-internlm2, tiny-internlm2-sp, sentencepiece",
  },
  {
    models: "InternVL2-1B",
    ...{ ...SLOW, decoder: "Qwen2ForCausalLM", templates: ["Hermes-2"] },
    checked: "tiny-qwen; the prompt by its text",
  },
  {
    models: "InternVL2-2B, -8B, -26B; Mini-InternVL-Chat-2B-V1-5; InternVL-Chat-V1-5",
    ...{ ...PIECES, decoder: "InternLM2ForCausalLM", templates: ["internlm2-chat"] },
    checked: "tiny-internlm2, sentencepiece; the prompt by its text",
  },
  {
    models: "InternVL2-40B, InternVL2-Llama3-76B",
    ...{
      ...PIECES,
      decoder: "LlamaForCausalLM",
      templates: ["Hermes-2", "internlm2-chat"],
      tokenizer: "tokenizer.model or tokenizer.json",
    },
    checked: "tiny-hf-llama's decoder; the prompt by its text",
  },
  { models: "InternVL2_5-…-hf, InternVL3-…-hf with Qwen2.5", ...{ ...HF, decoder: "Qwen2ForCausalLM" }, checked: "tiny-hf-qwen2" },
  { models: "InternVL3_5-…-HF, dense", ...{ ...HF, decoder: "Qwen3ForCausalLM" }, checked: "tiny-hf-qwen3" },
  { models: "InternVL2_5-2B-MPO-hf, -8B-MPO-hf", ...{ ...HF, decoder: "LlamaForCausalLM" }, checked: "tiny-hf-llama" },
];
