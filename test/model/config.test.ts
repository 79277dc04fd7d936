import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { EngineError } from "../../src/errors.ts";
import { parseConfig } from "../../src/model/config.ts";
import { refused } from "../shared/refused.ts";
import { fixture, pathOf } from "../support.ts";

type Json = Record<string, unknown>;
const nano = () => JSON.parse(fixture("../../weights/nano/config.json").toString()) as Json & { llm_config: Json; vision_config: Json };
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

function refusal(value: unknown): EngineError {
  try {
    parseConfig(value instanceof Uint8Array ? value : bytes(value));
  } catch (error) {
    const refusal = refused(error, "bad-weights", 500);
    expect(refusal.hint, refusal.message).toBeTruthy();
    return refusal;
  }
  throw new Error("it was accepted");
}

/** nano's configuration with other keys: of llm_config, vision_config, and at the top. An undefined one is left out. */
const changed = ({ llm = {}, vision = {}, top = {} }: { llm?: Json; vision?: Json; top?: Json }) => ({
  ...nano(),
  llm_config: { ...nano().llm_config, ...llm },
  vision_config: { ...nano().vision_config, ...vision },
  ...top,
});

/** Keys that transformers has written into published files, with the values it gives them (dumps of InternVL2-8B and InternVL3-1B). */
const GENERIC: Json = {
  ...{
    _attn_implementation_autoset: true,
    _commit_hash: null,
    add_cross_attention: false,
    bad_words_ids: null,
    chunk_size_feed_forward: 0,
  },
  ...{ cross_attention_hidden_size: null, diversity_penalty: 0.0, do_sample: false, early_stopping: false, eos_token_id: 2 },
  ...{ encoder_no_repeat_ngram_size: 0, exponential_decay_length_penalty: null, finetuning_task: null, forced_eos_token_id: null },
  ...{ id2label: { "0": "LABEL_0", "1": "LABEL_1" }, label2id: { LABEL_0: 0, LABEL_1: 1 }, is_decoder: false, is_encoder_decoder: false },
  ...{ length_penalty: 1.0, max_length: 20, min_length: 0, no_repeat_ngram_size: 0, num_beam_groups: 1, num_beams: 1, prefix: null },
  ...{ num_return_sequences: 1, output_attentions: false, output_hidden_states: false, output_scores: false, problem_type: null },
  ...{ pruned_heads: {}, remove_invalid_values: false, repetition_penalty: 1.0, return_dict: true, return_dict_in_generate: false },
  ...{ sep_token_id: null, suppress_tokens: null, task_specific_params: null, temperature: 1.0, tf_legacy_loss: false, top_k: 50 },
  ...{ tie_encoder_decoder: false, tokenizer_class: null, top_p: 1.0, torch_dtype: "bfloat16", torchscript: false, typical_p: 1.0 },
  ...{ transformers_version: "4.37.2", use_bfloat16: true, use_cache: false, attn_implementation: "flash_attention_2", moe_config: null },
};
const EXPERTS: Json = {
  ...{ capacity_factor: 1.2, eval_capacity_factor: 1.4, laux_allreduce: "all_nodes", moe_coeff_ratio: 0.5, moe_intermediate_size: 768 },
  ...{ moe_output_scale: 4.0, noisy_gate_policy: "RSample_before", num_experts: 8, num_routed_experts: 4, num_shared_experts: 4 },
  ...{ shared_expert_intermediate_size: 3072, use_moe: false, use_residual: true, use_rts: false, use_weighted_residual: false },
};

describe("config.json of published checkpoints", () => {
  const names = readdirSync(pathOf("test/fixtures")).filter((name) => name.endsWith(".config.json"));

  it("is there for every size", () => {
    expect(names.length).toBe(13);
  });

  it.each(names)("%s is read", (name) => {
    const { language, vision, tokensPerTile } = parseConfig(fixture(name));
    expect(tokensPerTile).toBe(256);
    expect(language.rope).toEqual({ kind: "plain", theta: 1_000_000 });
    expect(vision.norm === "rms_norm").toBe(/26b|38b|78b/.test(name)); // InternViT-6B
  });

  it("may carry what transformers writes into all of them, and the experts that InternVL3 does not use", () => {
    const top = { ...GENERIC, image_fold: null, system_message: null, hidden_size: 256 };
    const layers = { layer_types: ["full_attention", "full_attention", "full_attention", "full_attention"] };
    const config = changed({ llm: { ...GENERIC, ...layers }, vision: { ...GENERIC, ...EXPERTS, drop_path_rate: 0.1 }, top });
    const { systemMessage, ...rest } = parseConfig(bytes(config));
    expect(systemMessage).toBeUndefined();
    expect(rest).toEqual({ ...parseConfig(bytes(nano())), systemMessage: undefined, ...rest });
    expect(rest.language).toEqual(parseConfig(bytes(nano())).language);
  });
});

describe("keys that change the arithmetic", () => {
  const llm: [Json, RegExp][] = [
    [{ rope_theta: undefined }, /llm_config\.rope_theta is missing/],
    [{ rope_theta: 0 }, /llm_config\.rope_theta is 0, needs a number above 1/],
    [{ rope_theta: -1 }, /rope_theta is -1/],
    [{ rope_theta: 1e308 }, /rope_theta is 1e\+308/],
    [{ rope_theta: "1e6" }, /rope_theta is "1e6"/],
    [{ rope_theta: undefined, rope_parameters: { rope_type: "default" } }, /rope_theta is missing/],
    [{ rope_parameters: [1] }, /llm_config\.rope_parameters is a list of 1, needs to be an object/],
    [{ rope_parameters: { rope_theta: 0, rope_type: "default" } }, /llm_config\.rope_parameters\.rope_theta is 0/],
    [{ rope_parameters: { rope_theta: 1e6, partial_rotary_factor: 0.5 } }, /partial_rotary_factor is 0\.5, needs 1/],
    [{ rope_parameters: { full_attention: { rope_theta: 1e6 } } }, /full_attention is an object/],
    [{ rope_parameters: { rope_theta: 1e6 }, rope_scaling: { type: "linear", factor: 2 } }, /are both there/],
    [{ rope_scaling: { type: "longrope", factor: 2 } }, /llm_config\.rope_scaling\.type is "longrope"/],
    [{ rope_scaling: { rope_type: "mrope" } }, /rope_type is "mrope"/],
    [{ rope_scaling: { rope_type: "linear", type: "dynamic", factor: 2 } }, /rope_type is "linear", needs the same as/],
    [{ rope_scaling: { type: "linear" } }, /factor is missing/],
    [{ rope_scaling: { type: "linear", factor: 0 } }, /factor is 0/],
    [{ rope_scaling: { type: "yarn", factor: 4, alpha: 1000 } }, /rope_scaling\.alpha is 1000: this engine does not know/],
    [{ rope_scaling: { type: "yarn", factor: 4, attention_factor: -1 } }, /attention_factor is -1/],
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, /low_freq_factor is missing/],
    [{ rope_scaling: "dynamic" }, /rope_scaling is "dynamic", needs to be an object/],
    [{ partial_rotary_factor: 0.25 }, /partial_rotary_factor is 0\.25/],
    [{ head_dim: 128 }, /llm_config\.head_dim is 128, needs 64/],
    [{ hidden_act: "gelu" }, /llm_config\.hidden_act is "gelu"/],
    [{ rms_norm_eps: -1 }, /rms_norm_eps is -1, needs a number above 0 and below 1/],
    [{ rms_norm_eps: 0 }, /rms_norm_eps is 0/],
    [{ rms_norm_eps: 1e308 }, /rms_norm_eps is 1e\+308/],
    [{ bias: true }, /llm_config\.bias is true/],
    [{ mlp_bias: true }, /mlp_bias is true/],
    [{ use_sliding_window: true, sliding_window: 512, max_window_layers: 0 }, /windows of 512 tokens/],
    [{ layer_types: ["full_attention", "sliding_attention", "full_attention", "full_attention"] }, /layer_types/],
    [{ layer_types: ["full_attention"] }, /layer_types/],
    [{ num_hidden_layers: 1_000_000_000 }, /num_hidden_layers is 1000000000, needs a whole number from 1 to 1024/],
    [{ num_hidden_layers: 1.5 }, /num_hidden_layers is 1\.5/],
    [{ vocab_size: 1e12 }, /vocab_size is 1000000000000/],
    [{ hidden_size: 257 }, /does not divide/],
    [{ hidden_size: 258, num_attention_heads: 3 }, /llm_config\.hidden_size 258 does not divide by 4 values that are read together/],
    [{ intermediate_size: 77 }, /llm_config\.intermediate_size 77 does not divide by 4/],
    [{ hidden_size: 264, num_attention_heads: 4, num_key_value_heads: 2 }, /the width of a head 66 does not divide by 4/],
    [{ hidden_size: 1024 }, /llm_config\.head_dim has heads of 256, 128 is the most/],
    [{ num_attention_heads: 64, num_key_value_heads: 2 }, /32 query heads share a kv head, 16 is the most/],
    [{ num_key_value_heads: 3 }, /does not divide/],
    [{ num_experts: 8 }, /llm_config\.num_experts is 8: this engine does not know the key/],
    [{ final_logit_softcapping: 30 }, /final_logit_softcapping/],
    [{ embedding_multiplier: 12 }, /embedding_multiplier/],
    [{ architectures: ["Qwen4ForCausalLM"] }, /unknown architecture "Qwen4ForCausalLM".*Qwen3ForCausalLM/],
    [{ architectures: ["Qwen3MoeForCausalLM"] }, /"Qwen3MoeForCausalLM", a mixture of experts \(InternVL3_5-30B-A3B/],
    [{ architectures: ["GptOssForCausalLM"] }, /"GptOssForCausalLM", a mixture of experts .*GPT-OSS/],
    [{ architectures: ["Qwen2MoeForCausalLM"] }, /"Qwen2MoeForCausalLM", a mixture of experts/],
    [{ architectures: ["InternLM3ForCausalLM"] }, /"InternLM3ForCausalLM", the decoder of InternVL3-9B/],
    [{ architectures: ["Phi3ForCausalLM"] }, /"Phi3ForCausalLM", the decoder of InternVL2-4B/],
    [{ architectures: undefined }, /unknown architecture none/],
    [{ quantization_config: { quant_method: "awq", bits: 3 } }, /llm_config\.quantization_config\.bits is 3, needs 4/],
    [{ attention_bias: "yes" }, /attention_bias is "yes"/],
    [{ tie_word_embeddings: "false" }, /tie_word_embeddings is "false"/],
    [{ constructor: 1 }, /constructor is 1/],
  ];
  it.each(llm)("llm_config %j", (change, message) => {
    expect(refusal(changed({ llm: change })).message).toMatch(message);
  });

  const vision: [Json, RegExp][] = [
    [{ hidden_act: "quick_gelu" }, /vision_config\.hidden_act is "quick_gelu"/],
    [{ norm_type: "batch_norm" }, /norm_type is "batch_norm"/],
    [{ layer_norm_eps: 0 }, /layer_norm_eps is 0/],
    [{ num_channels: 4 }, /num_channels is 4/],
    [{ use_moe: true }, /use_moe is true/],
    [{ use_qk_norm: true }, /use_qk_norm is true: this engine does not know/],
    [{ patch_size: [14, 14] }, /patch_size is \[14, 14\]/],
    [{ image_size: 113 }, /image_size 113 does not divide/],
    [{ intermediate_size: 50 }, /vision_config\.intermediate_size 50 does not divide by 4/],
    [{ num_attention_heads: 1 }, /vision_config has heads of 192, 128 is the most/],
    [{ patch_size: 7, image_size: 112 }, /vision_config\.patch_size 7 does not divide by 2/],
    [{ quantization_config: {} }, /quantization_config names no quant_method/],
  ];
  it.each(vision)("vision_config %j", (change, message) => {
    expect(refusal(changed({ vision: change })).message).toMatch(message);
  });

  const top: [Json, RegExp, RegExp?][] = [
    [{ ps_version: "v1" }, /ps_version is "v1"/],
    [{ ps_version: undefined }, /ps_version is missing, which means v1/],
    [{ downsample_ratio: 0.25 }, /downsample_ratio is 0\.25/],
    [{ select_layer: 9 }, /select_layer is 9, the vision tower has 4 layers/],
    [{ select_layer: -1.5 }, /select_layer is -1\.5/],
    [{ pad2square: true }, /pad2square is true/],
    [{ image_fold: 2 }, /image_fold is 2: this engine does not know/],
    [{ max_dynamic_patch: 1e9 }, /max_dynamic_patch/],
    [{ min_dynamic_patch: 7 }, /min_dynamic_patch is 7, above/],
    [{ hidden_size: 512 }, /hidden_size is 512, needs llm_config\.hidden_size, 256/],
    [{ system_message: 5 }, /system_message is 5/],
    [{ template: ["internvl2_5"] }, /template is a list/],
    [{ template: 5 }, /template is 5/],
    [{ llm_config: undefined }, /llm_config is missing/],
    [{ vision_config: [] }, /vision_config is an empty list/],
    [{ use_llm_lora: -8 }, /use_llm_lora is -8, needs a rank/],
    [{ use_backbone_lora: 0.5 }, /use_backbone_lora is 0.5, needs a rank/],
    [{ quantization_config: { quant_method: "gptq" } }, /quantization_config names "gptq"/, /original checkpoint/],
    [{ quantization_config: { load_in_4bit: true } }, /names "bitsandbytes"/],
    [{ quantization_config: { quant_method: "fp8" } }, /names "fp8"/],
    [{ quantization_config: "awq" }, /quantization_config is "awq", needs to be an object/],
    [{ quantization: { group_size: 64, bits: 4 } }, /quantization\.method is missing/, /original checkpoint/],
    [{ quantization: { method: "other" } }, /quantization\.method is "other"/, /internvl convert/],
    [{ text_config: { hidden_size: 256 } }, /text_config is an object.*does not know the key/],
    [{ model_type: "internvl" }, /unknown architecture "InternVLChatModel".*InternVLForConditionalGeneration/],
    [{ architectures: ["InternVLForConditionalGeneration"] }, /model_type is "internvl_chat", needs "internvl"/],
    [{ model_type: "internvl_flash" }, /model_type is "internvl_flash", needs "internvl_chat"/],
    [{ peft_type: "LORA" }, /LoRA adapter's/],
    [{ architectures: "LlavaForCausalLM" }, /unknown architecture "LlavaForCausalLM"/],
    [{ architectures: [{}] }, /unknown architecture an object without keys/],
  ];
  it.each(top)("%j", (change, message, hint) => {
    const error = refusal(changed({ top: change }));
    expect(error.message).toMatch(message);
    if (hint) expect(error.hint).toMatch(hint);
  });

  const fine: [Json, object][] = [
    [{ rope_theta: undefined, rope_parameters: { rope_theta: 1e6, rope_type: "default" } }, { rope: { kind: "plain", theta: 1e6 } }],
    [{ rope_scaling: { type: "default" } }, { rope: { kind: "plain", theta: 1e6 } }],
    [{ rope_scaling: { type: "dynamic", factor: 2, original_max_position_embeddings: 512 } }, { maxPositions: 512 }],
    [
      { head_dim: 64, attention_bias: true },
      { headDim: 64, qkvBias: true },
    ],
    [{ attention_bias: false }, { qkvBias: false }],
    [{ hidden_act: "swish" }, {}],
    [{ use_sliding_window: true, sliding_window: 4096 }, {}], // never shorter than the context
    [{ use_sliding_window: true, sliding_window: 16, max_window_layers: 4 }, {}], // for no layer
    [{ sliding_window: 16, use_sliding_window: false }, {}],
  ];
  it.each(fine)("llm_config %j is the same model", (change, language) => {
    expect(parseConfig(bytes(changed({ llm: change }))).language).toMatchObject(language);
  });

  it("InternLM2 has no biases, no windows, and two kinds of rope", () => {
    const base = JSON.parse(fixture("internvl2_5-2b.config.json").toString()) as { llm_config: Json };
    const with_ = (change: Json) => ({ ...base, llm_config: { ...base.llm_config, ...change } });
    expect(refusal(with_({ bias: true })).message).toMatch(/llm_config\.bias is true/);
    expect(refusal(with_({ attention_bias: true })).message).toMatch(/attention_bias is true/);
    expect(refusal(with_({ sliding_window: 128 })).message).toMatch(/sliding_window is 128/);
    expect(refusal(with_({ rope_scaling: { type: "yarn", factor: 2 } })).message).toMatch(/InternLM2 does not have/);
    expect(parseConfig(bytes(with_({ rope_scaling: { type: "linear", factor: 2 } }))).language.rope.kind).toBe("linear");
  });
});

describe("config.json that is no configuration", () => {
  const text = JSON.stringify(nano());
  const cases: [string, unknown, RegExp, RegExp?][] = [
    ["nothing", "", /config\.json is not JSON/],
    ["a list", "[]", /must hold a JSON object, it holds an empty list/],
    ["null", "null", /it holds null/],
    ["bytes", Uint8Array.of(0x7b, 0xff, 0x7d), /not UTF-8/],
    ["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", /Git LFS pointer/, /git lfs pull/],
    ["a key twice", text.replace('"template"', '"ps_version":"v2","template"'), /has the key "ps_version" twice/],
    ["a key twice, otherwise spelt", text.replace('"template"', '"ps\\u005fversion":"v2","template"'), /has the key "ps_version" twice/],
    ["nested deeply", `{"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}`, /nested deeper than 64/],
    [
      "a prototype",
      text.replace('"template"', '"__proto__":{"ps_version":"v2"},"template"').replace('"ps_version":"v2",', ""),
      /ps_version/,
    ],
    ["an endless value", { ...nano(), ps_version: "v".repeat(1_000_000) }, /ps_version is "v+…" \(1000000 characters\)/],
    ["an endless key", { ...nano(), ["k".repeat(1_000_000)]: 1 }, /k+… is 1: this engine|characters/],
  ];
  it.each(cases)("%s", (_, value, message, hint) => {
    const error = refusal(value);
    expect(error.message).toMatch(message);
    if (hint) expect(error.hint).toMatch(hint);
  });

  it.each(["config-deep", "config-layers-1e9"])("the case %s", (name) => {
    refusal(new Uint8Array(fixture(`cases/${name}.json`)));
  });
});
