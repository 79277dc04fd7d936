import { expect, it } from "vitest";
import { openGpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { openWeights } from "../../src/hub/open.ts";
import { parseConfig } from "../../src/model/config.ts";
import { declareDecoderLayer } from "../../src/model/decoder.ts";
import { qwen3 } from "../../src/model/qwen3.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { createCaches } from "../../src/ops/kv-cache.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { ropeAppend, ropeTable } from "../../src/ops/rope.ts";
import type { Bindable } from "../../src/tensor/tensor.ts";
import { bindingOf } from "../../src/tensor/tensor.ts";
import { GpuWeights } from "../../src/weights/gpu-weights.ts";
import { fixture, json, memoryFiles, readF32, relativeL2, syntheticFile } from "../support.ts";

/** The norm of q's and k's heads is a part of the rope kernel: with angles of zero what it gives is the norm alone, which upstream's taps are. */
it("q_norm and k_norm of tiny-qwen3's first layer are upstream's", async () => {
  const config = parseConfig(fixture("tiny/tiny-qwen3/config.json"));
  const { weights_seed } = json<{ weights_seed: number }>("tiny/tiny-qwen3/expected.json");
  const taps = readF32(fixture("tiny/tiny-qwen3/expected.safetensors"));
  const file = syntheticFile(checkpointTensors(config), weights_seed);
  const gpu = await openGpu();
  try {
    const weights = GpuWeights.of(gpu, await openWeights(memoryFiles({ "model.safetensors": file })), {
      format: "auto",
      onBytes: () => {},
    });
    const { hiddenSize, headDim, heads, kvHeads } = config.language;
    const layer = await weights.load((w) => declareDecoderLayer(w.at("language_model.model.layers.0"), config.language, qwen3));
    const embeds = taps.get("input_embeds")!.data;
    const tokens = embeds.length / hiddenSize;
    const { memory } = gpu;
    const buffer = memory.create("x", embeds.byteLength);
    memory.write(buffer, 0, Float32Array.from(embeds));
    const table = ropeTable(tokens, new Float32Array(headDim / 2));
    const angles = memory.create("angles", table.byteLength);
    memory.write(angles, 0, table);
    const cache = createCaches(memory, { ...config.language, layers: 1 }, tokens, 1, "f32")[0]!;
    const queries = memory.create("q", tokens * heads * headDim * 4);
    const program = await new Programs(gpu).record("norms", tokens, (p) => {
      const x = { label: "x", rows: { base: 0, unit: 1 }, width: hiddenSize, buffer };
      const qkv = matmul(p, x, layer.qkv, { norm: layer.attentionNorm });
      const q = ropeAppend(p, qkv, angles, { ...cache, slot: 0 }, heads, layer.headNorm);
      p.copy({ from: q.buffer, to: queries, range: () => ({ fromOffset: 0, toOffset: 0, bytes: tokens * heads * headDim * 4 }) });
    });
    program.run({ units: tokens, start: 0 });
    const read = async (from: Bindable, count: number) => new Float32Array(await memory.read(bindingOf(from).buffer, 0, count * 4));
    const q = await read(queries, tokens * heads * headDim);
    expect(relativeL2(q, taps.get("llm.layer.0.q_norm")!.data)).toBeLessThan(1e-5);
    const held = await read(cache.keys, kvHeads * tokens * headDim); // [kvHeads, tokens, headDim]
    const keys = Float32Array.from({ length: held.length }, (_, i) => {
      const [token, head, d] = [Math.floor(i / (kvHeads * headDim)), Math.floor(i / headDim) % kvHeads, i % headDim];
      return held[(head * tokens + token) * headDim + d]!;
    });
    expect(relativeL2(keys, taps.get("llm.layer.0.k_norm")!.data)).toBeLessThan(1e-5);
  } finally {
    gpu.close();
  }
});
