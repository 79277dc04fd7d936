import { describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { decodedElements, prefillFlops, visionFlops } from "../../tools/cli/cost.ts";
import { syntheticFiller } from "../../tools/synthetic/source.ts";
import { synthesize, syntheticRule } from "../../tools/synthetic/tensors.ts";
import { useGpu } from "../shared/gpu.ts";
import { fixture, json } from "../support.ts";

interface Vectors {
  vectors: { seed: number; name: string; shape: number[]; index: number; bf16: string }[];
}

const config = parseConfig(fixture("internvl2_5-4b.config.json"));

describe("the synthetic rule as a shader", () => {
  let gpu: Gpu;
  let fill: ReturnType<typeof syntheticFiller>;
  let out: GPUBuffer;
  useGpu((opened) => {
    gpu = opened;
    fill = syntheticFiller(gpu);
    out = gpu.memory.create("out", 2 ** 16);
  });

  async function made(name: string, shape: readonly number[], seed: number, element: number, count: number): Promise<Uint16Array> {
    await fill(syntheticRule(name, shape, seed), { element, count, out, first: 4 });
    return new Uint16Array(await gpu.memory.read(out, 8, 2 * count));
  }

  it("gives the forty vectors", async () => {
    for (const { seed, name, shape, index, bf16 } of json<Vectors>("synthetic-vectors.json").vectors) {
      const even = index - (index % 2);
      const bits = await made(name, shape, seed, even, 2);
      expect(bits[index - even]!.toString(16).padStart(4, "0"), `${name}[${index}] seed ${seed}`).toBe(bf16);
    }
  });

  it("equals the rule on the CPU in a stretch of every kind of tensor of the 4B model", async () => {
    const kinds = new Map(checkpointTensors(config).map((tensor) => [tensor.name.replace(/\d+/g, "N"), tensor]));
    expect(kinds.size).toBe(30);
    for (const { name, shape } of kinds.values()) {
      const elements = shape.reduce((a, b) => a * b, 1);
      const count = Math.min(elements, 1000);
      const first = elements - count; // the end: the largest indices
      expect(await made(name, shape, 3, first, count), name).toEqual(synthesize(name, shape, 3, first, count));
    }
  });
});

describe("what the 4B model costs", () => {
  it("is what its shapes say (DESIGN §6)", () => {
    expect(decodedElements(config)).toBe(3_085_160_448);
    expect(visionFlops(config) / 1e9).toBeCloseTo(730, -1);
    expect(prefillFlops(config, 3428) / 1e12).toBeCloseTo(20.8, 1);
  });
});
