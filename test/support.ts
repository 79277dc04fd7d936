import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseConfig } from "../src/model/config.ts";
import { checkpointTensors, type TensorShape } from "../src/model/tensors.ts";
import { encodeHeader, memorySource, parseHeader } from "../src/safetensors/index.ts";
import { widenBf16 } from "../src/tensor/tensor.ts";
import type { WeightSource } from "../src/weights/source.ts";
import { synthesize } from "../src/weights/synthetic.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
export const pathOf = (path: string): string => `${root}${path}`;
export const fixture = (path: string): Buffer => readFileSync(pathOf(`test/fixtures/${path}`));
export const json = <T>(path: string): T => JSON.parse(fixture(path).toString("utf8")) as T;

/** A synthetic tensor as exact f32. */
export function syntheticF32(name: string, shape: readonly number[], seed = 0): Float32Array<ArrayBuffer> {
  return widenBf16(
    synthesize(
      name,
      shape,
      seed,
      0,
      shape.reduce((a, b) => a * b, 1),
    ),
  );
}

/** One safetensors file of synthetic bf16 tensors. */
export function syntheticFile(tensors: readonly TensorShape[], seed: number): Uint8Array {
  const specs = tensors.map(({ name, shape }) => ({ name, shape, dtype: "BF16" as const }));
  const parts = [
    encodeHeader(specs),
    ...tensors.map(
      ({ name, shape }) =>
        new Uint8Array(
          synthesize(
            name,
            shape,
            seed,
            0,
            shape.reduce((a, b) => a * b, 1),
          ).buffer,
        ),
    ),
  ];
  return Buffer.concat(parts);
}

/** A weight source of files in memory. */
export function memoryFiles(files: Record<string, Uint8Array>): WeightSource {
  return { open: async (name) => (files[name] ? memorySource(name, files[name]) : undefined) };
}

/** A tiny checkpoint of test/fixtures, its weights made by the synthetic rule. */
export function tinyCheckpoint(name: string, seed: number): Record<string, Uint8Array> {
  const config = fixture(`tiny/${name}/config.json`);
  return {
    "config.json": config,
    "model.safetensors": syntheticFile(checkpointTensors(parseConfig(config)), seed),
    ...Object.fromEntries(
      ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"].map((file) => [file, fixture(`tiny/tokenizer/${file}`)]),
    ),
  };
}

/** The f32 tensors of a small safetensors file, by name. */
export function readF32(bytes: Uint8Array): Map<string, { shape: readonly number[]; data: Float32Array }> {
  const { tensors } = parseHeader(bytes, bytes.length, "fixture");
  return new Map(
    [...tensors].map(([name, { shape, begin, end }]) => [
      name,
      { shape, data: new Float32Array(Uint8Array.from(bytes.subarray(begin, end)).buffer) },
    ]),
  );
}

/** |a - b| / |b|, infinite when a holds NaN or Inf or another number of values. */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  const ratio = Math.sqrt(difference / size);
  return Number.isFinite(ratio) ? ratio : Number.POSITIVE_INFINITY;
}
