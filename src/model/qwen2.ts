import type { DecoderNames } from "./decoder.ts";
import { llama } from "./llama.ts";

/** Qwen2 and Qwen2.5 (modeling_qwen2.py): Llama's names, and q, k and v have biases. */
export const qwen2: DecoderNames = { ...llama, qkvBias: ["self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"] };
