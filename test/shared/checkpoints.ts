import type { WeightSource } from "../../src/hub/source.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors, type TensorShape } from "../../src/model/tensors.ts";
import { encodeHeader, memorySource, parseHeader } from "../../src/safetensors/index.ts";
import { widenBf16 } from "../../src/tensor/tensor.ts";
import { synthesize } from "../../tools/synthetic/tensors.ts";

/** Reads a file of the repository: from the disk in Node, from the test server in a page. Throws where there is none. */
export type ReadRepository = (path: string) => Promise<Uint8Array>;

export async function readJson<T>(read: ReadRepository, path: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await read(path))) as T;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A synthetic tensor as exact f32. */
export function syntheticF32(name: string, shape: readonly number[], seed = 0): Float32Array<ArrayBuffer> {
  return widenBf16(synthesize(name, shape, seed, 0, sizeOf(shape)));
}

/** One safetensors file of synthetic bf16 tensors. */
export function syntheticFile(tensors: readonly TensorShape[], seed: number): Uint8Array {
  const header = encodeHeader(tensors.map(({ name, shape }) => ({ name, shape, dtype: "BF16" as const })));
  const file = new Uint8Array(header.length + tensors.reduce((sum, { shape }) => sum + 2 * sizeOf(shape), 0));
  file.set(header);
  let at = header.length;
  for (const { name, shape } of tensors) {
    file.set(new Uint8Array(synthesize(name, shape, seed, 0, sizeOf(shape)).buffer), at);
    at += 2 * sizeOf(shape);
  }
  return file;
}

/** A weight source of files in memory. */
export function memoryFiles(files: Record<string, Uint8Array>): WeightSource {
  return { open: async (name) => (files[name] ? memorySource(name, files[name]) : undefined) };
}

const FAST_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];
const SLOW_FILES = ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json"];

/** Where a tiny checkpoint's tokenizer lies below test/fixtures/tiny: most share one. */
const tokenizerFiles = (name: string): string[] =>
  name === "tiny-qwen3" ? SLOW_FILES.map((file) => `${name}/${file}`) : FAST_FILES.map((file) => `tokenizer/${file}`);

/** A tiny checkpoint of test/fixtures, its weights made by the synthetic rule. */
export async function tinyFiles(name: string, seed: number, read: ReadRepository): Promise<Record<string, Uint8Array>> {
  const config = await read(`test/fixtures/tiny/${name}/config.json`);
  const tokenizer = tokenizerFiles(name).map(async (path) => [path.split("/")[1]!, await read(`test/fixtures/tiny/${path}`)] as const);
  return {
    "config.json": config,
    "model.safetensors": syntheticFile(checkpointTensors(parseConfig(config)), seed),
    ...Object.fromEntries(await Promise.all(tokenizer)),
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
