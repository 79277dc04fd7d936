import type { Gpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { fillSynthetic, type SyntheticRule, type SyntheticTarget } from "../../src/ops/synth.ts";
import { elementsOf } from "../../src/tensor/tensor.ts";
import { CHUNK_BYTES } from "../../src/weights/reads.ts";
import { madeTensors, type StoredTensor, type TensorSource } from "../../src/weights/tensor-source.ts";
import { synthesize, syntheticRule } from "./tensors.ts";

/**
 * Tensors of the synthetic rule (facts/SYNTHETIC.md), bf16, made on the GPU: no file, and nothing to upload.
 *
 * @param shapes what there is, as `checkpointTensors` lists it
 */
export function syntheticTensors(gpu: Gpu, shapes: readonly { name: string; shape: readonly number[] }[], seed: number): TensorSource {
  const fill = syntheticFiller(gpu);
  const made = async (name: string, shape: readonly number[], first: number, count: number) =>
    new Uint8Array(synthesize(name, shape, seed, first, count).buffer);
  const tensors = shapes.map(({ name, shape }): [string, StoredTensor] => [
    name,
    { dtype: "BF16", shape, read: () => made(name, shape, 0, elementsOf(shape)) },
  ]);
  return madeTensors(new Map(tensors), async function* (names) {
    const wanted = new Set(names);
    for (const { name, shape } of shapes) {
      if (!wanted.has(name)) continue;
      const rule = syntheticRule(name, shape, seed);
      const bytes = 2 * elementsOf(shape);
      for (let offset = 0; offset < bytes; offset += CHUNK_BYTES) {
        const length = Math.min(CHUNK_BYTES, bytes - offset);
        yield {
          ...{ name, offset, length },
          bytes: () => made(name, shape, offset / 2, length / 2),
          put: (from, to, out, at) => fill(rule, { element: from / 2, count: (to - from) / 2, out, first: at / 2 }),
        };
      }
    }
  });
}

/** Runs `fillSynthetic` at once. */
export function syntheticFiller(gpu: Gpu): (rule: SyntheticRule, target: SyntheticTarget) => Promise<void> {
  const programs = new Programs(gpu);
  return (rule, target) => programs.once("synthetic weights", (p) => fillSynthetic(p, rule, target));
}
