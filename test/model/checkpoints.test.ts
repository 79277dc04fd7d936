import { describe, expect, it } from "vitest";
import { EngineError, InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors, type TensorShape } from "../../src/model/tensors.ts";
import { encodeHeader } from "../../src/safetensors/index.ts";
import { generateTrace, traceForward } from "../../src/testing.ts";
import { fixture, json, memoryFiles, readF32, relativeL2, syntheticF32, syntheticFile, tinyCheckpoint } from "../support.ts";

const seed = 0;
const files = tinyCheckpoint("tiny-qwen", seed);
const config = JSON.parse(Buffer.from(files["config.json"]!).toString("utf8")) as Record<string, unknown> & { llm_config: object };
const golden = json<{ cases: { name: string; input_ids: number[]; new_ids: number[]; pixel_values: { name: string; shape: number[] } }[] }>(
  "tiny/tiny-qwen/expected.json",
);
const single = golden.cases.find(({ name }) => name === "single")!;
const expected = readF32(fixture("tiny/tiny-qwen/expected.safetensors"));

/** f32 → f16 bits, round to nearest even. */
function half(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (magnitude < 2 ** -14) {
    const steps = magnitude * 2 ** 24; // subnormal: a multiple of 2^-24
    const floor = Math.floor(steps);
    const rest = steps - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
  }
  const exponent = (bits >>> 23) - (bits >>> 31 ? 256 : 0) - 112;
  const rounded = ((exponent << 10) | ((bits >>> 13) & 0x3ff)) + ((bits & 0x1fff) + ((bits >>> 13) & 1) > 0x1000 ? 1 : 0);
  return sign | rounded;
}

/** The tiny checkpoint stored in another dtype. */
function stored(dtype: "F32" | "F16"): Uint8Array {
  const tensors = checkpointTensors(parseConfig(files["config.json"]!));
  const header = encodeHeader(tensors.map(({ name, shape }) => ({ name, shape, dtype })));
  const data = tensors.map(({ name, shape }) => {
    const values = syntheticF32(name, shape, seed);
    return new Uint8Array(dtype === "F32" ? values.buffer : Uint16Array.from(values, half).buffer);
  });
  return Buffer.concat([header, ...data]);
}

async function run(source: Record<string, Uint8Array>, weights: "auto" | "f32" = "auto") {
  const vlm = await InternVL.load(memoryFiles(source), { maxContext: 512, weights });
  try {
    const pixelValues = syntheticF32(single.pixel_values.name, single.pixel_values.shape);
    const trace = await traceForward(vlm, { pixelValues, inputIds: single.input_ids });
    const { ids } = await generateTrace(vlm, { pixelValues, inputIds: single.input_ids, steps: single.new_ids.length });
    return { error: relativeL2(trace.get("logits")!, expected.get("logits")!.data), ids };
  } finally {
    await vlm.dispose();
  }
}

describe("checkpoints as they are stored", () => {
  it("f32: as exact as bf16", async () => {
    const { error, ids } = await run({ ...files, "model.safetensors": stored("F32") });
    expect(error).toBeLessThan(2e-5);
    expect(ids).toEqual(single.new_ids);
  });

  it("f16: the bf16 values, but for those below f16's normal range", async () => {
    const { error, ids } = await run({ ...files, "model.safetensors": stored("F16") });
    console.log(`f16 checkpoint: logits ${error.toExponential(2)}`);
    expect(error).toBeLessThan(1e-4);
    expect(ids).toEqual(single.new_ids);
  });

  it("bf16 held as f32: as exact", async () => {
    const { error, ids } = await run(files, "f32");
    expect(error).toBeLessThan(2e-5);
    expect(ids).toEqual(single.new_ids);
  });

  it("from vocab.json, merges.txt and added_tokens.json when there is no tokenizer.json", async () => {
    const { "tokenizer.json": _, ...rest } = files;
    const slow = Object.fromEntries(
      ["vocab.json", "merges.txt", "added_tokens.json"].map((name) => [name, fixture(`tiny/tokenizer/${name}`)]),
    );
    const vlm = await InternVL.load(memoryFiles({ ...rest, ...slow }), { maxContext: 512 });
    const text = golden.cases.find(({ name }) => name === "text") as unknown as { question: string; input_ids: number[] };
    expect((await vlm.chat(text.question, { maxTokens: 1 })).promptTokenIds).toEqual(text.input_ids);
    await vlm.dispose();
  });
});

describe("broken checkpoints", () => {
  const tensors = checkpointTensors(parseConfig(files["config.json"]!));
  const withConfig = (change: object): Record<string, Uint8Array> => ({
    ...files,
    "config.json": Buffer.from(JSON.stringify({ ...config, ...change })),
  });
  const without = (name: string): Record<string, Uint8Array> => Object.fromEntries(Object.entries(files).filter(([file]) => file !== name));
  const changed = (change: (t: TensorShape) => TensorShape | undefined) => ({
    ...files,
    "model.safetensors": syntheticFile(
      tensors.flatMap((t) => change(t) ?? []),
      seed,
    ),
  });

  const cases: [string, () => Record<string, Uint8Array>, RegExp][] = [
    ["no config.json", () => without("config.json"), /no config\.json/],
    ["no weights", () => without("model.safetensors"), /model\.safetensors/],
    ["no tokenizer", () => without("tokenizer.json"), /tokenizer\.json/],
    ["config.json that is not JSON", () => ({ ...files, "config.json": Buffer.from("{") }), /config\.json is not JSON/],
    [
      "unknown outer architecture",
      () => withConfig({ architectures: ["LlavaForCausalLM"] }),
      /unknown architecture "LlavaForCausalLM".*InternVLChatModel/,
    ],
    [
      "unknown decoder",
      () => withConfig({ llm_config: { ...config.llm_config, architectures: ["MistralForCausalLM"] } }),
      /unknown architecture "MistralForCausalLM".*Qwen2ForCausalLM/,
    ],
    [
      "a size that is no number",
      () => withConfig({ llm_config: { ...config.llm_config, hidden_size: "128" } }),
      /llm_config\.hidden_size is "128"/,
    ],
    ["unknown template", () => withConfig({ template: "vicuna" }), /vicuna.*internvl2_5/],
    ["truncated shard", () => ({ ...files, "model.safetensors": files["model.safetensors"]!.subarray(0, 100_000) }), /model\.safetensors/],
    ["missing tensor", () => changed((t) => (t.name === "mlp1.1.bias" ? undefined : t)), /tensor "mlp1\.1\.bias" is missing.*\[128\]/],
    [
      "wrong shape",
      () => changed((t) => (t.name === "mlp1.1.bias" ? { ...t, shape: [64] } : t)),
      /tensor "mlp1\.1\.bias" has shape \[64\], needs \[128\]/,
    ],
  ];

  it.each(cases)("%s", async (_, source, message) => {
    const error = await InternVL.load(memoryFiles(source()), { maxContext: 512 }).then(
      async (vlm) => vlm.dispose(),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).code).toBe("bad-weights");
    expect((error as EngineError).message).toMatch(message);
    expect((error as EngineError).message).not.toContain("\n");
  });
});
