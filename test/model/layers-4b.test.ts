import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { openWeights } from "../../src/hub/open.ts";
import { parseConfig } from "../../src/model/config.ts";
import { declareDecoderLayer, recordDecoderLayer } from "../../src/model/decoder.ts";
import { declareProjector, recordProjector } from "../../src/model/projector.ts";
import { qwen2 } from "../../src/model/qwen2.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { declareVisionLayer, recordVisionLayer } from "../../src/model/vision.ts";
import { VISION_NAMES } from "../../src/model/vision-names.ts";
import { createCaches } from "../../src/ops/kv-cache.ts";
import { inverseFrequencies, ropeTable } from "../../src/ops/rope.ts";
import type { Activation, Bindable } from "../../src/tensor/tensor.ts";
import { GpuWeights } from "../../src/weights/gpu-weights.ts";
import { fragments, simulated, withMatrixUnits } from "../kernels/emulated.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { fixture, json, memoryFiles, readF32, relativeL2, syntheticF32, syntheticFile } from "../support.ts";

interface Golden {
  inputs: Record<string, [name: string, shape: number[]]>;
  tensors: Record<string, { shape: number[]; l2: number; stride: number; count: number }>;
}

const golden = json<Golden>("layers-4b/expected.json");
const expected = readF32(fixture("layers-4b/expected.safetensors"));
const config = parseConfig(fixture("internvl2_5-4b.config.json"));
const BOUNDS = { exact: 1e-5, auto: 2e-3 }; // one layer, f32 compute, and f16 operands: golden/README.md

/** Compares the stored samples and the norm of the whole output. */
function compare(name: string, actual: Float32Array, title: string, bound: number): void {
  const { stride, count, l2 } = golden.tensors[name]!;
  const samples = Float32Array.from({ length: count }, (_, i) => actual[i * stride]!);
  const error = relativeL2(samples, expected.get(name)!.data);
  console.log(`${name}, ${title}: ${error.toExponential(2)}`);
  expect(error).toBeLessThan(bound);
  expect(Math.sqrt(actual.reduce((sum, v) => sum + v * v, 0)) / l2).toBeCloseTo(1, 4);
}

/**
 * Single layers at the 4B model's real shapes; `.small` inputs are 2^-10 as large, where the norms' eps decides. On matrix units products round
 * their operands as those do, in f32 tiles (emulated.ts).
 */
describe.each([
  { factor: 1, precision: "exact", units: false },
  { factor: 2 ** -10, precision: "exact", units: false },
  { factor: 1, precision: "exact", units: true },
  { factor: 1, precision: "auto", units: true },
] as const)("layers of the 4B model, inputs times $factor, $precision, matrix units: $units", ({ factor, precision, units }) => {
  const suffix = factor === 1 ? "" : ".small";
  const title = `${precision}${units ? " on matrix units" : ""}`;
  const check = (name: string, actual: Float32Array) => compare(name, actual, title, BOUNDS[precision]);
  let gpu: Gpu;
  let weights: GpuWeights;
  let programs: Programs;

  beforeAll(async () => {
    gpu = await openGpu();
    if (units) gpu = withMatrixUnits(gpu, [fragments("f16", 8, 16, 16)], simulated);
    const wanted = /^(vision_model\.encoder\.layers\.0|mlp1|language_model\.model\.layers\.0)\./;
    const file = syntheticFile(
      checkpointTensors(config).filter(({ name }) => wanted.test(name)),
      0,
    );
    weights = GpuWeights.of(gpu, await openWeights(memoryFiles({ "model.safetensors": file })), { format: "auto", onBytes: () => {} });
    programs = new Programs(gpu, precision);
  });
  afterAll(() => gpu.close());
  beforeEach((context) => {
    context.skip(units && !inject("full"), "the same layers again: npm run test:full");
    // The layers' products, and all once more: three minutes on SwiftShader.
    context.skip((factor !== 1 || context.task.name !== "mlp1") && isQuick, `small inputs and whole layers: ${ELSEWHERE}`);
  });

  function input(name: string): Float32Array<ArrayBuffer> {
    const [tensor, shape] = golden.inputs[name]!;
    return syntheticF32(tensor, shape).map((v) => v * factor);
  }

  function activation(label: string, data: Float32Array<ArrayBuffer>, width: number, unit: number): Activation {
    const buffer = gpu.memory.create(label, data.byteLength);
    gpu.memory.write(buffer, 0, data);
    return { label, rows: { base: 0, unit }, width, buffer };
  }

  const read = async (buffer: Bindable, count: number) => new Float32Array(await gpu.memory.read(buffer, 0, count * 4));

  it("InternViT layer 0", async () => {
    const data = input("vit_layer");
    const x = activation("x", data, 1024, 1025);
    const layer = await weights.load((w) =>
      declareVisionLayer(w.at("vision_model.encoder.layers.0"), config.vision, VISION_NAMES.original),
    );
    (await programs.record("layer", 1, (p) => recordVisionLayer(p, layer, x, config.vision))).run({ units: 1, start: 0 });
    check(`vit_layer${suffix}`, await read(x.buffer, data.length));
  });

  it("mlp1", async () => {
    const x = activation("x", input("mlp1"), 4096, 256);
    const projector = await weights.load((w) => declareProjector(w.at("mlp1"), 1024, 2048, "original"));
    const out = gpu.memory.create("out", 256 * 2048 * 4);
    const program = await programs.record("mlp1", 1, (p) => {
      const y = recordProjector(p, projector, x);
      p.copy({ from: y.buffer, to: out, range: () => ({ fromOffset: 0, toOffset: 0, bytes: 256 * 2048 * 4 }) });
    });
    program.run({ units: 1, start: 0 });
    check(`mlp1${suffix}`, await read(out, 256 * 2048));
  });

  it("decoder layer 0, prefill of 320 tokens and one decoded", async () => {
    const context = 321;
    const layer = await weights.load((w) => declareDecoderLayer(w.at("language_model.model.layers.0"), config.language, qwen2));
    const cache = createCaches(gpu.memory, { ...config.language, layers: 1 }, context, 1, "f32")[0]!;
    const table = ropeTable(context, inverseFrequencies(128, config.language.rope.theta));
    const rope = gpu.memory.create("rope", table.byteLength);
    gpu.memory.write(rope, 0, table);
    const data = input("llm_layer.prefill");
    const x = activation("x", data, 2048, 1);
    (await programs.record("prefill", 320, (p) => recordDecoderLayer(p, layer, x, { ...cache, slot: 0 }, rope, 16))).run({
      units: 320,
      start: 0,
    });
    check(`llm_layer.prefill${suffix}`, await read(x.buffer, data.length));
    const one = activation("one", input("llm_layer.decode"), 2048, 1);
    (await programs.record("decode", 1, (p) => recordDecoderLayer(p, layer, one, cache, rope, 16))).run({ units: 1, start: 320 });
    check(`llm_layer.decode${suffix}`, await read(one.buffer, 2048));
    if (factor === 1) {
      check("llm_layer.keys", await read(cache.keys, 2 * context * 128));
      check("llm_layer.values", await read(cache.values, 2 * context * 128));
    }
  });
});
