import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convertWeights, inspect, verify } from "../../src/convert.ts";
import { InternVL, type WeightFormat } from "../../src/index.ts";
import { encodeHeader, parseHeader } from "../../src/safetensors/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { fixture, json, memoryFiles, memoryFolder, readF32, relativeL2, syntheticF32 } from "../support.ts";

interface Case {
  name: string;
  question: string;
  pixel_values: { name: string; shape: number[] } | null;
  input_ids: number[];
  new_ids: number[];
}

const folder = "tiny/tiny-awq";
const NAMES = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"];
const files = Object.fromEntries(NAMES.map((name) => [name, new Uint8Array(fixture(`${folder}/${name}`))]));
const golden = json<{ cases: Case[] }>(`${folder}/expected.json`);
const logits = readF32(fixture(`${folder}/expected.safetensors`)).get("first_logits")!;
const config = json<{ llm_config: Record<string, unknown> & { quantization_config: object } }>(`${folder}/config.json`);

type Tensors = Map<string, { dtype: "I32" | "F16" | "BF16" | "I8"; shape: number[]; bytes: Uint8Array }>;

function tensorsOf(file: Uint8Array): Tensors {
  const { tensors } = parseHeader(file, file.length, "fixture");
  return new Map(
    [...tensors].map(([name, { dtype, shape, begin, end }]) => [
      name,
      { dtype: dtype as "I32", shape: [...shape], bytes: file.slice(begin, end) },
    ]),
  );
}

const fileOf = (tensors: Tensors): Uint8Array =>
  Buffer.concat([
    encodeHeader([...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))),
    ...[...tensors.values()].map(({ bytes }) => bytes),
  ]);

/** The checkpoint with something changed in its tensors, its configuration, or both. */
function changed(edit: (tensors: Tensors) => void, settings: object = config): Record<string, Uint8Array> {
  const tensors = tensorsOf(files["model.safetensors"]!);
  edit(tensors);
  return { ...files, "model.safetensors": fileOf(tensors), "config.json": Buffer.from(JSON.stringify(settings)) };
}

const quantized = (change: object) => ({
  ...config,
  llm_config: { ...config.llm_config, quantization_config: { ...config.llm_config.quantization_config, ...change } },
});

async function run(vlm: InternVL, { pixel_values: pixels, input_ids: ids, new_ids: expected }: Case) {
  const pixelValues = pixels ? syntheticF32(pixels.name, pixels.shape) : undefined;
  return generateTrace(vlm, { pixelValues, inputIds: ids, steps: expected.length });
}

const rowOf = (i: number) => logits.data.subarray(i * logits.shape[1]!, (i + 1) * logits.shape[1]!);

async function refusal(source: Record<string, Uint8Array>): Promise<string> {
  const error = await InternVL.load(memoryFiles(source), { maxContext: 512 }).then(
    (vlm) => vlm.dispose().then(() => "it loaded"),
    (reason: { code: string; message: string; hint: string }) => `${reason.code}: ${reason.message}; ${reason.hint}`,
  );
  return error;
}

describe("tiny-awq", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(memoryFiles(files), { maxContext: 512, kv: "f32" });
  });
  afterAll(() => vlm?.dispose());

  it("is held in q8", () => {
    expect(vlm.weights).toBe("q8");
    const labels = vlm.memory().entries.map(({ label }) => label);
    expect(labels.filter((label) => /qweight|qzeros|unpack|step$/.test(label)).length).toBeLessThan(3);
    expect(labels.some((label) => /qweight|qzeros/.test(label))).toBe(false);
  });

  it.each(golden.cases.map((c, i) => [c.name, c, i] as const))(
    "the case `%s`: first logits within the f32 bound, ids equal",
    async (name, c, i) => {
      const { ids, logits: got } = await run(vlm, c);
      const error = relativeL2(got[0]!, rowOf(i));
      console.log(`tiny-awq ${name} on ${vlm.adapter}: ${error.toExponential(2)}`);
      expect(error).toBeLessThan(5e-5);
      expect(ids).toEqual(c.new_ids);
    },
  );

  it("a question gives the golden's prompt", async () => {
    const { promptTokenIds } = await vlm.chat(golden.cases[0]!.question, { maxTokens: 1 });
    expect(promptTokenIds).toEqual(golden.cases[0]!.input_ids);
  });
});

describe("AWQ held otherwise", () => {
  // f32 is exact; f16 and bf16 round the product, q4 codes it anew: bounds by what those roundings cost on random weights.
  it.for<[WeightFormat, number]>([
    ["f32", 5e-5],
    ["f16", 5e-3],
    ["bf16", 4e-2],
    ["q8", 5e-2],
    ["q4", 0.8],
  ])("weights: %s", async ([weights, bound], context) => {
    context.skip(isQuick && weights !== "f32" && weights !== "q4", `one that is exact and one that is not: the others ${ELSEWHERE}`);
    const vlm = await InternVL.load(memoryFiles(files), { maxContext: 512, kv: "f32", weights });
    expect(vlm.weights).toBe(weights);
    const { ids, logits: got } = await run(vlm, golden.cases[1]!);
    const error = relativeL2(got[0]!, rowOf(1));
    console.log(`tiny-awq as ${weights} on ${vlm.adapter}: ${error.toExponential(2)}`);
    expect(error).toBeLessThan(bound);
    if (bound < 1e-2) expect(ids).toEqual(golden.cases[1]!.new_ids);
    await vlm.dispose();
  });

  it("one of q, k and v is not packed: the three are held exactly", async () => {
    const source = changed(
      (tensors) => {
        const prefix = "language_model.model.layers.0.self_attn.q_proj";
        for (const part of ["qweight", "qzeros", "scales"]) tensors.delete(`${prefix}.${part}`);
        tensors.set(`${prefix}.weight`, { dtype: "F16", shape: [256, 256], bytes: new Uint8Array(2 * 256 * 256) });
      },
      quantized({ modules_to_not_convert: ["layers.0.self_attn.q_proj", "vision_model"] }),
    );
    const vlm = await InternVL.load(memoryFiles(source), { maxContext: 512 });
    const held = vlm.memory().entries.find(({ label }) => label.includes("layers.0.self_attn.q_proj.weight+"))!;
    expect(held.bytes).toBe(4 * 512 * 256);
    await vlm.dispose();
  });
});

describe("twins", () => {
  it("another order in the file, several shards, quantization_config at the top level", async () => {
    const tensors = [...tensorsOf(files["model.safetensors"]!)].reverse();
    const shards = [0, 1, 2].map((n) => new Map(tensors.filter((_, i) => i % 3 === n)));
    const name = (n: number) => `model-0000${n + 1}-of-00003.safetensors`;
    const weight_map = Object.fromEntries(shards.flatMap((shard, n) => [...shard.keys()].map((tensor) => [tensor, name(n)])));
    const { "model.safetensors": _, ...rest } = files;
    const { quantization_config, ...llm_config } = config.llm_config;
    const vlm = await InternVL.load(
      memoryFiles({
        ...rest,
        ...Object.fromEntries(shards.map((shard, n) => [name(n), fileOf(shard)])),
        "model.safetensors.index.json": Buffer.from(JSON.stringify({ metadata: {}, weight_map })),
        "config.json": Buffer.from(
          JSON.stringify({ ...config, llm_config, quantization_config: { ...quantization_config, version: "GEMM", backend: "autoawq" } }),
        ),
      }),
      { maxContext: 512 },
    );
    const { ids } = await run(vlm, golden.cases[2]!);
    expect(ids).toEqual(golden.cases[2]!.new_ids);
    await vlm.dispose();
  });

  it("converts into q8 exactly and into f16, and what was converted loads", async () => {
    for (const to of isQuick ? (["q8"] as const) : (["q8", "f16"] as const)) {
      const out = memoryFolder();
      const report = await convertWeights(memoryFiles(files), { to, out });
      const packed = report.tensors.filter(({ name }) => /layers\..*proj\.weight$/.test(name) && name.startsWith("language"));
      expect(packed).toHaveLength(14);
      if (to === "q8") expect(packed.map(({ nmse }) => nmse)).toEqual(packed.map(() => 0)); // exactly
      await verify(out);
      const vlm = await InternVL.load(out, { maxContext: 512 });
      expect(vlm.weights).toBe(to);
      const { logits: got } = await run(vlm, golden.cases[1]!);
      expect(relativeL2(got[0]!, rowOf(1))).toBeLessThan({ q8: 5e-2, f16: 5e-3 }[to]);
      await vlm.dispose();
    }
  });

  it("inspect tells what the weights stand for", async () => {
    const found = await inspect(memoryFiles(files));
    expect(found.config.packed).toEqual({ method: "awq", notConverted: [] });
    const plain = [...tensorsOf(files["model.safetensors"]!)].filter(([name]) => !/\.(qweight|qzeros|scales)$/.test(name));
    const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);
    const linears = 2 * (256 * (256 + 128 + 128 + 256) + 3 * 256 * 384);
    expect(found.parameters).toBe(plain.reduce((sum, [, { shape }]) => sum + size(shape), linears));
    expect(found.tied).toBe(false);
    expect((await verify(memoryFiles(files))).tensors).toBe(found.totals.tensors);
  });
});

describe("refused by name", () => {
  const down = "language_model.model.layers.0.mlp.down_proj";
  const cases: [string, () => Record<string, Uint8Array>, RegExp][] = [
    [
      "GPTQ",
      () => changed(() => {}, quantized({ quant_method: "gptq", desc_act: false })),
      /llm_config\.quantization_config names "gptq".*AWQ folder/,
    ],
    [
      "bitsandbytes",
      () => changed(() => {}, quantized({ quant_method: "bitsandbytes" })),
      /names "bitsandbytes".*original checkpoint with weights: "q4" or "q8"/,
    ],
    ["fp8", () => changed(() => {}, quantized({ quant_method: "fp8" })), /names "fp8"/],
    ["the gemv form", () => changed(() => {}, quantized({ version: "gemv" })), /quantization_config\.version is "gemv", needs "gemm"/],
    ["8 bits", () => changed(() => {}, quantized({ bits: 8 })), /bits is 8, needs 4/],
    ["groups of 64", () => changed(() => {}, quantized({ group_size: 64 })), /group_size is 64, needs 128/],
    ["no zero points", () => changed(() => {}, quantized({ zero_point: false })), /zero_point is false, needs true/],
    ["an unknown key", () => changed(() => {}, quantized({ act_order: true })), /quantization_config\.act_order is true/],
    [
      "two that differ",
      () => changed(() => {}, { ...config, quantization_config: { quant_method: "awq", modules_to_not_convert: ["mlp1"] } }),
      /differ in modules_to_not_convert/,
    ],
    [
      "a packed module that is not to be converted",
      () => changed(() => {}, quantized({ modules_to_not_convert: ["mlp.down_proj"] })),
      /has "mlp\.down_proj", but ".*0\.mlp\.down_proj\.qweight" is packed/,
    ],
    [
      "packed weights that config.json says nothing of",
      () => changed(() => {}, { ...config, llm_config: { ...config.llm_config, quantization_config: undefined } }),
      /packed, of which config\.json \(quantization_config\) says nothing/,
    ],
    [
      "no zero points in the file",
      () => changed((t) => void t.delete(`${down}.qzeros`)),
      /"language_model\.model\.layers\.0\.mlp\.down_proj\.qzeros" is missing, needs I32 \[3,32\]/,
    ],
    [
      "scales of another shape",
      () => changed((t) => void t.set(`${down}.scales`, { dtype: "F16", shape: [256, 3], bytes: new Uint8Array(1536) })),
      /scales" is F16 \[256,3\], needs F16 \[3,256\]/,
    ],
    [
      "scales in bf16",
      () => changed((t) => void t.set(`${down}.scales`, { dtype: "BF16", shape: [3, 256], bytes: new Uint8Array(1536) })),
      /scales" is BF16 .*needs F16/,
    ],
    [
      "no whole groups",
      () => changed((t) => void t.set(`${down}.qweight`, { dtype: "I32", shape: [320, 32], bytes: new Uint8Array(320 * 128) })),
      /320 input channels, needs whole groups of 128/,
    ],
    [
      "another width than the configuration's",
      () => changed((t) => void t.set(`${down}.qweight`, { dtype: "I32", shape: [384, 16], bytes: new Uint8Array(384 * 64) })),
      /qzeros" is I32 \[3,32\], needs I32 \[3,16\]/,
    ],
    ["infinite scales", () => changed((t) => t.get(`${down}.scales`)!.bytes.set([0, 0x7c])), /down_proj\.scales" holds 4 infinities/],
  ];
  it.each(cases)("%s", async (_, source, message) => {
    const said = await refusal(source());
    expect(said).toMatch(/^bad-weights: /);
    expect(said).toMatch(message);
    expect(said).not.toContain("\n");
  });

  it("a checkpoint of which nothing is packed", async () => {
    const source = changed((tensors) => {
      for (const [name, { shape }] of [...tensors]) {
        if (!name.endsWith(".qweight")) continue;
        const [inner, words] = shape as [number, number];
        const prefix = name.slice(0, -".qweight".length);
        for (const part of ["qweight", "qzeros", "scales"]) tensors.delete(`${prefix}.${part}`);
        tensors.set(`${prefix}.weight`, { dtype: "F16", shape: [8 * words, inner], bytes: new Uint8Array(16 * words * inner) });
      }
    });
    expect(await refusal(source)).toMatch(/names "awq", but no tensor is packed/);
  });
});
