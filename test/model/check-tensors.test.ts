import { describe, expect, it } from "vitest";
import { EngineError } from "../../src/errors.ts";
import { checkTensors } from "../../src/model/check-tensors.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { StoredShape } from "../../src/weights/tensor-source.ts";
import { fixture } from "../support.ts";

const qwen = parseConfig(fixture("tiny/tiny-qwen/config.json"));
const internLm2 = parseConfig(fixture("tiny/tiny-internlm2/config.json"));
const vit6b = parseConfig(fixture("tiny/tiny-vit6b/config.json"));

const stored = (config: ModelConfig): Map<string, StoredShape> =>
  new Map(checkpointTensors(config).map(({ name, shape }) => [name, { dtype: "BF16", shape }]));

function refusal(config: ModelConfig, tensors: Map<string, StoredShape>): EngineError {
  try {
    checkTensors(config, tensors);
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).code).toBe("bad-weights");
    expect((error as EngineError).hint).toMatch(/\w+ \w+/);
    expect((error as EngineError).message).not.toContain("\n");
    return error as EngineError;
  }
  throw new Error("they were accepted");
}

const layer = "language_model.model.layers";

describe("tensors beside those that the model takes", () => {
  const vector = { dtype: "BF16", shape: [32] };
  const perLayer = (name: string) => [0, 1, 2].map((i) => [`${layer}.${i}.${name}`, vector] as const);
  const cases: [string, ModelConfig, (readonly [string, StoredShape])[], RegExp, RegExp?][] = [
    [
      "q_norm and k_norm under Qwen2",
      qwen,
      [...perLayer("self_attn.q_norm.weight"), ...perLayer("self_attn.k_norm.weight")],
      /"language_model\.model\.layers\.0\.self_attn\.q_norm\.weight" is not one that config\.json asks for; and 5 more/,
    ],
    ["a bias that Qwen2 has not", qwen, perLayer("self_attn.o_proj.bias"), /o_proj\.bias.*and 2 more/],
    ["a bias under InternLM2", internLm2, [[`${layer}.0.attention.wqkv.bias`, vector]], /wqkv\.bias" is not one/],
    ["a norm of the vision tower", qwen, [["vision_model.encoder.layers.0.attn.q_norm.weight", vector]], /q_norm/],
    ["a second projector", qwen, [["mlp1.5.weight", vector]], /"mlp1\.5\.weight"/],
    ["a layer too many", qwen, [[`${layer}.3.input_layernorm.weight`, vector]], /layers\.3\.input_layernorm/],
    [
      "a LoRA",
      qwen,
      [[`${layer}.0.self_attn.q_proj.lora_A.default.weight`, vector]],
      /LoRA that config\.json says nothing of/,
      /use_llm_lora.*--lora/,
    ],
    [
      "a LoRA under peft's own prefix",
      qwen,
      [[`base_model.model.${layer}.0.self_attn.q_proj.lora_B.weight`, vector]],
      /lora_B.*LoRA that config\.json says nothing of/,
    ],
    ["AWQ", qwen, [[`${layer}.0.self_attn.q_proj.qweight`, vector]], /another library has packed/, /original checkpoint/],
    ["bitsandbytes", qwen, [[`${layer}.0.mlp.up_proj.weight.absmax`, vector]], /another library has packed/],
    ["fp8", qwen, [[`${layer}.0.mlp.up_proj.weight_scale_inv`, vector]], /another library has packed/],
    [
      "Hugging Face's names",
      qwen,
      [["vision_tower.embeddings.cls_token", vector]],
      /Hugging Face's own layout, and config\.json is of the original one/,
      /one checkpoint/,
    ],
    ["the Flash models' second projector", qwen, [["mlp2.0.weight", vector]], /of InternVL3_5-…-Flash/, /without -Flash/],
    ["a name of a million characters", qwen, [[`mlp1.${"x".repeat(1e6)}`, vector]], /^tensor "mlp1\.x+…"/],
  ];
  it.each(cases)("%s", (_, config, extra, message, hint) => {
    const error = refusal(config, new Map([...stored(config), ...extra]));
    expect(error.message).toMatch(message);
    expect(error.message.length).toBeLessThan(300);
    if (hint) expect(error.hint).toMatch(hint);
  });

  it("unmerged, a checkpoint names the LoRA and not the tensors that it lacks", () => {
    const renamed = [...stored(qwen)].map(([name, info]) => [name.replace("q_proj.weight", "q_proj.base_layer.weight"), info] as const);
    expect(refusal(qwen, new Map(renamed)).message).toMatch(
      /base_layer\.weight" is of a LoRA that config\.json says nothing of; and 2 more/,
    );
  });

  it("fewer layers in config.json than are stored", () => {
    const fewer = { ...qwen, language: { ...qwen.language, layers: 2 } };
    expect(refusal(fewer, stored(qwen)).message).toMatch(/layers\.2\..*and 11 more/);
    const vision = { ...qwen, vision: { ...qwen.vision, layers: 2 } };
    expect(refusal(vision, stored(qwen)).message).toMatch(/vision_model\.encoder\.layers\.2/);
  });

  it("are let pass where they change nothing: tables that are computed anew, and what lies outside the model", () => {
    const more = new Map(stored(qwen));
    more.set(`${layer}.0.self_attn.rotary_emb.inv_freq`, { dtype: "F32", shape: [16] });
    more.set("vision_model.embeddings.position_ids", { dtype: "I64", shape: [1, 17] });
    more.set("qllama.model.norm.weight", vector);
    checkTensors(qwen, more);
    expect(() => checkTensors(qwen, more, { all: true })).toThrow(/"qllama\.model\.norm\.weight"/);
  });
});

describe("tensors that the model takes", () => {
  it.each([qwen, internLm2, vit6b].map((config) => [config.language.architecture, config] as const))("%s has all", (_, config) => {
    checkTensors(config, stored(config));
  });

  it("a head that is stored, and none where none is, whatever tie_word_embeddings says", () => {
    for (const tied of [true, false]) {
      for (const config of [qwen, internLm2]) {
        const said = { ...config, language: { ...config.language, tied } };
        const headless = { ...config, language: { ...config.language, tied: true } };
        checkTensors(said, stored({ ...config, language: { ...config.language, tied: false } }));
        checkTensors(said, stored(headless));
      }
    }
  });

  it("the first that is missing, has another shape, or another dtype, and how many more", () => {
    const without = new Map([...stored(qwen)].filter(([name]) => !name.includes("mlp1.1")));
    expect(refusal(qwen, without).message).toMatch(/^tensor "mlp1\.1\.weight" is missing; .*\[128,512\]; and 1 more tensors do not fit$/);
    const wide = new Map(stored(qwen)).set("mlp1.3.bias", { dtype: "BF16", shape: [64] });
    expect(refusal(qwen, wide).message).toBe('tensor "mlp1.3.bias" has shape [64], needs [128]');
    const eight = new Map(stored(qwen)).set("mlp1.3.weight", { dtype: "F8_E4M3", shape: [128, 128] });
    expect(refusal(qwen, eight).message).toMatch(/dtype F8_E4M3, supported: F32, F16, BF16/);
  });

  it("vision layers behind select_layer may be stored or not", () => {
    const early = { ...qwen, selectLayer: -2 };
    checkTensors(early, stored(qwen));
    checkTensors(early, new Map([...stored(qwen)].filter(([name]) => !name.includes("encoder.layers.2."))));
    expect(refusal(qwen, new Map([...stored(qwen)].filter(([name]) => !name.includes("encoder.layers.2.")))).message).toMatch(/missing/);
  });

  it("codes and scales of a converted checkpoint", () => {
    const converted = new Map(stored(qwen));
    const name = "mlp1.3.weight";
    const q4 = (scales: StoredShape) => new Map(converted).set(name, { dtype: "U8", shape: [128, 64] }).set(`${name}.scales`, scales);
    checkTensors(qwen, q4({ dtype: "F16", shape: [128, 4] }));
    expect(refusal(qwen, q4({ dtype: "F32", shape: [128, 4] })).message).toMatch(/"mlp1\.3\.weight\.scales" is F32 \[128,4\], needs F16/);
    const bias = new Map(converted).set("mlp1.3.bias.scales", { dtype: "F16", shape: [4] });
    expect(refusal(qwen, bias).message).toMatch(/"mlp1\.3\.bias" has scales/);
  });
});
