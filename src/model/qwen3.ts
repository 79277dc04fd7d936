import type { DecoderNames } from "./decoder.ts";
import { llama } from "./llama.ts";

/** Qwen3 (modeling_qwen3.py): Llama's names, and a norm for the heads of q and one for those of k. */
export const qwen3: DecoderNames = { ...llama, headNorms: ["self_attn.q_norm.weight", "self_attn.k_norm.weight"] };
