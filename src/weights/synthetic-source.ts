import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { fillSynthetic, type SyntheticRule, type SyntheticTarget } from "../ops/synth.ts";
import { CHUNK_BYTES } from "./reads.ts";
import { synthesize, syntheticRule } from "./synthetic.ts";
import type { TensorSource } from "./tensor-source.ts";

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/**
 * Tensors of the synthetic rule (facts/SYNTHETIC.md), bf16, made on the GPU: no file, and nothing to upload.
 *
 * @param shapes what there is, as `checkpointTensors` lists it
 */
export function syntheticTensors(gpu: Gpu, shapes: readonly { name: string; shape: readonly number[] }[], seed: number): TensorSource {
  const byName = new Map(shapes.map(({ name, shape }) => [name, shape]));
  const fill = syntheticFiller(gpu);
  return {
    bytes: shapes.reduce((sum, { shape }) => sum + 2 * sizeOf(shape), 0),
    names: () => byName.keys(),
    get(name) {
      const shape = byName.get(name);
      if (!shape) return undefined;
      const count = sizeOf(shape);
      return {
        dtype: "BF16",
        shape,
        read: async () => new Uint8Array(synthesize(name, shape, seed, 0, count).buffer),
      };
    },
    async *stream(names) {
      const wanted = new Set(names);
      for (const { name, shape } of shapes) {
        if (!wanted.has(name)) continue;
        const rule = syntheticRule(name, shape, seed);
        const bytes = 2 * sizeOf(shape);
        for (let offset = 0; offset < bytes; offset += CHUNK_BYTES) {
          const length = Math.min(CHUNK_BYTES, bytes - offset);
          yield {
            name,
            offset,
            length,
            bytes: async () => new Uint8Array(synthesize(name, shape, seed, offset / 2, length / 2).buffer),
            put: (from, to, out, at) => fill(rule, { element: from / 2, count: (to - from) / 2, out, first: at / 2 }),
          };
        }
      }
    },
  };
}

/** Runs `fillSynthetic` at once. */
export function syntheticFiller(gpu: Gpu): (rule: SyntheticRule, target: SyntheticTarget) => Promise<void> {
  const programs = new Programs(gpu);
  return async (rule, target) => {
    const program = await programs.record("synthetic weights", 1, (p) => fillSynthetic(p, rule, target));
    program.run({ units: 1, start: 0 });
    program.dispose();
  };
}
