import { describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { EngineError, InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { flagNonFinite } from "../../src/ops/finite.ts";
import { encodeHeader, parseHeader } from "../../src/safetensors/index.ts";
import { generateTrace } from "../../src/testing.ts";
import { countNonFinite } from "../../src/weights/finite.ts";
import { useGpu } from "../shared/gpu.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { fixture, json, memoryFiles, syntheticF32, tinyCheckpoint } from "../support.ts";

const files = tinyCheckpoint("tiny-qwen", 0);
const tensors = checkpointTensors(parseConfig(files["config.json"]!));

type Dtype = "BF16" | "F16" | "F32";
const NAN: Readonly<Record<Dtype, number[]>> = { BF16: [0xc0, 0x7f], F16: [0x01, 0xfe], F32: [1, 0, 0x80, 0x7f] };
const INFINITY: Readonly<Record<Dtype, number[]>> = { BF16: [0x80, 0xff], F16: [0x00, 0x7c], F32: [0, 0, 0x80, 0xff] };

/** f32 values in another dtype, which holds them: they are bf16's, and of a size that f16 has. */
function bytesOf(values: Float32Array<ArrayBuffer>, dtype: Dtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer);
  const words = new Uint32Array(values.buffer);
  if (dtype === "BF16") return new Uint8Array(Uint16Array.from(words, (word) => word >>> 16).buffer);
  const half = (value: number) => {
    const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
    const exponent = ((bits >>> 23) & 0xff) - 112;
    const magnitude = exponent > 0 ? (exponent << 10) | ((bits >>> 13) & 0x3ff) : Math.round(Math.abs(value) * 2 ** 24);
    return ((bits >>> 16) & 0x8000) | magnitude;
  };
  return new Uint8Array(Uint16Array.from(values, half).buffer);
}

/** The tiny checkpoint with tensors in several dtypes. */
function stored(dtypeOf: (name: string) => Dtype): Uint8Array {
  const header = encodeHeader(tensors.map(({ name, shape }) => ({ name, shape, dtype: dtypeOf(name) })));
  return Buffer.concat([header, ...tensors.map(({ name, shape }) => bytesOf(syntheticF32(name, shape, 0), dtypeOf(name)))]);
}

const whole: Partial<Record<Dtype, Uint8Array>> = { BF16: files["model.safetensors"]! };

describe("flags", () => {
  let gpu: Gpu;
  useGpu((opened) => {
    gpu = opened;
  });

  /** Whether the GPU flags these words. */
  async function flags(words: Uint32Array<ArrayBuffer>, dtype: "f32" | "f16" | "bf16"): Promise<boolean> {
    const buffer = gpu.memory.create("words", words.byteLength);
    const flag = gpu.memory.create("flags", 16);
    gpu.memory.write(buffer, 0, words);
    const programs = new Programs(gpu);
    const program = await programs.record("finite", 1, (p) =>
      flagNonFinite(p, { words: buffer, bytes: words.byteLength, dtype, flags: flag, counter: 2 }),
    );
    program.run({ units: 1, start: 0 });
    const read = new Uint32Array(await gpu.memory.read(flag, 0, 16));
    expect([read[0], read[1], read[3]]).toEqual([0, 0, 0]);
    for (const each of [buffer, flag]) gpu.memory.destroy(each);
    return read[2] === 1;
  }

  it.each(["bf16", "f16"] as const)("%s: no finite pattern of bits, in either half of a word", async (dtype) => {
    const top = dtype === "bf16" ? 0x7f80 : 0x7c00;
    const finite = Uint16Array.from(Array.from({ length: 65536 }, (_, bits) => bits).filter((bits) => (bits & top) !== top));
    expect(await flags(new Uint32Array(finite.buffer), dtype)).toBe(false);
    expect(await flags(new Uint32Array(finite.slice().reverse().buffer), dtype)).toBe(false);
  });

  it.each(["bf16", "f16", "f32"] as const)("%s: one infinity or NaN wherever it lies", async (dtype) => {
    const size = dtype === "f32" ? 4 : 2;
    const special = {
      bf16: [0x7f80, 0xff80, 0x7f81, 0xffff],
      f16: [0x7c00, 0xfc00, 0x7c01, 0xffff],
      f32: [0x7f800000, 0xff800000, 0x7f800001],
    };
    for (const bits of special[dtype]) {
      for (const at of [0, 1, 3, 6, 4099, 2 ** 19 - 1]) {
        const words = new Uint32Array(2 ** 18).fill(dtype === "f32" ? 0x7f7fffff : dtype === "bf16" ? 0x7f7fff7f : 0x7bfffbff);
        if (size === 4) words[at % words.length] = bits;
        else new Uint16Array(words.buffer)[at % (2 * words.length)] = bits;
        expect(await flags(words, dtype), `${bits.toString(16)} at ${at}`).toBe(true);
        expect(countNonFinite(new Uint8Array(words.buffer), dtype)).toBe(1);
        // Where a source reads into a part of an array, or gives Node's Buffers, whose slice() is no copy.
        const shifted = Buffer.concat([Buffer.alloc(1), new Uint8Array(words.buffer)]).subarray(1);
        expect(countNonFinite(shifted, dtype)).toBe(1);
      }
    }
    expect(await flags(new Uint32Array(4).fill(dtype === "f32" ? 0xff7fffff : dtype === "bf16" ? 0xff7fff7f : 0xfbfffbff), dtype)).toBe(
      false,
    );
  });
});

describe("a checkpoint with one value that is no number is refused while it is loaded, with the tensor's name", () => {
  const names = [
    "language_model.model.layers.1.mlp.down_proj.weight",
    "language_model.model.layers.2.self_attn.v_proj.weight", // the last of three that are one matrix
    "language_model.model.layers.0.self_attn.k_proj.bias",
    "language_model.model.embed_tokens.weight",
    "language_model.lm_head.weight",
    "language_model.model.norm.weight",
    "vision_model.embeddings.position_embedding",
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.encoder.layers.1.ls2",
    "mlp1.0.bias",
  ];
  async function refusal(bytes: Uint8Array, weights: "auto" | "f32" | "q8" = "auto"): Promise<EngineError> {
    const error = await InternVL.load(memoryFiles({ ...files, "model.safetensors": bytes }), { maxContext: 64, weights }).then(
      async (vlm) => vlm.dispose(),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).code).toBe("bad-weights");
    return error as EngineError;
  }
  function damaged(dtype: Dtype, name: string, value: number[]): Uint8Array {
    const bytes = Uint8Array.from((whole[dtype] ??= stored(() => dtype)));
    const { begin, end } = parseHeader(bytes, bytes.length, "x").tensors.get(name)!;
    bytes.set(value, end - value.length);
    expect(begin).toBeLessThan(end);
    return bytes;
  }

  it.each(names)("bf16: %s", async (name) => {
    expect((await refusal(damaged("BF16", name, NAN.BF16))).message).toBe(`tensor "${name}" holds 1 infinities or NaN`);
  });

  it.each(["F16", "F32"] as const)("%s", async (dtype) => {
    for (const name of names.slice(0, 3)) {
      expect((await refusal(damaged(dtype, name, INFINITY[dtype]))).message).toBe(`tensor "${name}" holds 1 infinities or NaN`);
    }
  });

  it("held in another format", async () => {
    const bytes = damaged("BF16", names[0]!, INFINITY.BF16);
    expect((await refusal(bytes, "f32")).message).toBe(`tensor "${names[0]}" holds 1 infinities or NaN`);
    expect((await refusal(bytes, "q8")).message).toContain(`tensor "${names[0]}" has 1 groups of 32 that hold infinities, NaN`);
  });
});

it("tensors of one product in several dtypes give the ids of one dtype", async (context) => {
  context.skip(isQuick, `several loads: ${ELSEWHERE}`);
  const golden = json<{
    cases: { name: string; input_ids: number[]; new_ids: number[]; pixel_values: { name: string; shape: number[] } }[];
  }>("tiny/tiny-qwen/expected.json");
  const single = golden.cases.find(({ name }) => name === "single")!;
  const pixelValues = syntheticF32(single.pixel_values.name, single.pixel_values.shape);
  const mixes: ((name: string) => Dtype)[] = [
    (name) => (name.includes("q_proj") ? "F32" : "BF16"),
    (name) => (/k_proj|up_proj|attn\.proj/.test(name) ? "F16" : /gate_proj/.test(name) ? "F32" : "BF16"),
  ];
  for (const mix of mixes) {
    for (const weights of ["auto", "bf16"] as const) {
      const source = memoryFiles({ ...files, "config.json": fixture("tiny/tiny-qwen/config.json"), "model.safetensors": stored(mix) });
      const vlm = await InternVL.load(source, { maxContext: 512, weights });
      const { ids } = await generateTrace(vlm, { pixelValues, inputIds: single.input_ids, steps: single.new_ids.length });
      await vlm.dispose();
      expect(ids).toEqual(single.new_ids);
    }
  }
});
