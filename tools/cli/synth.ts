import { existsSync } from "node:fs";
import { copyFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { platform } from "#platform";
import { EngineError } from "../../src/errors.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { INDEX_NAME, type TensorSpec, type TensorToWrite, writeSafetensors } from "../../src/safetensors/index.ts";
import { elementsOf } from "../../src/tensor/tensor.ts";
import { planShards, type Shard, shardIndex } from "../../src/weights/shards.ts";
import { SMALL_FILES } from "../../src/weights/small-files.ts";
import { syntheticFiller } from "../synthetic/source.ts";
import { synthesize, syntheticRule } from "../synthetic/tensors.ts";
import { interruptSignal, status } from "./model.ts";
import { checkAbsent, createFile, createFolder } from "./output.ts";

interface SynthFlags {
  config: string;
  seed: number;
  out: string;
  tokenizer?: string;
  shardSize: number;
  adapter?: string;
  json?: boolean;
}

const PIECE = 2 ** 23; // elements

/** Makes elements on the GPU where there is one: a CPU's hash is several times slower than its disk. */
async function maker(adapter: string | undefined): Promise<{ gpu: Gpu | undefined; make: Make }> {
  const onCpu: Make = async (name, shape, seed, first, count) => new Uint8Array(synthesize(name, shape, seed, first, count).buffer);
  let gpu: Gpu;
  try {
    gpu = await openGpu({ adapter });
  } catch (error) {
    if (error instanceof EngineError && (error.code === "no-adapter" || error.code === "no-webgpu") && !adapter)
      return { gpu: undefined, make: onCpu };
    throw error;
  }
  const fill = syntheticFiller(gpu);
  const out = gpu.memory.create("synthetic weights", 2 * PIECE);
  return {
    gpu,
    async make(name, shape, seed, first, count) {
      if (count < 4096 || count % 2 !== 0) return onCpu(name, shape, seed, first, count);
      await fill(syntheticRule(name, shape, seed), { element: first, count, out, first: 0 });
      return new Uint8Array(await gpu.memory.read(out, 0, 2 * count));
    },
  };
}

type Make = (name: string, shape: readonly number[], seed: number, first: number, count: number) => Promise<Uint8Array>;

interface Filling {
  make: Make;
  seed: number;
  signal: AbortSignal;
  /** Hears how many bytes were made. */
  onBytes(bytes: number): void;
}

/** Writes a shard of tensors that are made a piece at a time. */
async function writeShard(
  folder: string,
  { name: file, tensors }: Shard<TensorSpec>,
  { make, seed, signal, onBytes }: Filling,
): Promise<void> {
  const sink = await createFile(folder, file);
  const filled = tensors.map(
    ({ name, shape, dtype }): TensorToWrite => ({
      name,
      shape,
      dtype,
      async *data() {
        const count = elementsOf(shape);
        for (let first = 0; first < count; first += PIECE) {
          if (signal.aborted) throw new EngineError("aborted", "the operation was aborted");
          const bytes = await make(name, shape, seed, first, Math.min(PIECE, count - first));
          onBytes(bytes.length);
          yield bytes;
        }
      },
    }),
  );
  const metadata = new Map([
    ["format", "pt"],
    ["synthetic_seed", String(seed)],
  ]);
  try {
    await writeSafetensors(sink, filled, metadata);
  } finally {
    await sink.close();
  }
}

/** Copies tokenizer files, of a folder that was asked for or that lie beside the config; their names. @throws EngineError bad-input where the former has none */
async function copyTokenizer(asked: string | undefined, beside: string, folder: string): Promise<string[]> {
  const from = asked ?? beside;
  const copied = SMALL_FILES.filter((name) => existsSync(join(from, name)));
  if (asked && copied.length === 0) {
    throw new EngineError("bad-input", `${JSON.stringify(from)} holds no tokenizer files`, { hint: `known are ${SMALL_FILES.join(", ")}` });
  }
  for (const name of copied) await copyFile(join(from, name), join(folder, name));
  return copied;
}

/** Writes a full-size synthetic checkpoint (facts/SYNTHETIC.md): bf16 shards, their index, config.json, and tokenizer files if given. */
export async function synth(flags: SynthFlags): Promise<void> {
  const signal = interruptSignal();
  checkAbsent(flags.out);
  const config = await platform.readFile(flags.config);
  const specs = checkpointTensors(parseConfig(config)).map((tensor) => ({ ...tensor, dtype: "BF16" as const }));
  const total = specs.reduce((sum, { shape }) => sum + 2 * elementsOf(shape), 0);
  let written = 0;
  const onBytes = (bytes: number) => {
    written += bytes;
    status(`${(written / 1e9).toFixed(1)} of ${(total / 1e9).toFixed(1)} GB`);
  };
  const began = performance.now();
  const { gpu, make } = await maker(flags.adapter);
  try {
    const { files } = await createFolder(flags.out, async (folder) => {
      const shards = planShards(specs, flags.shardSize);
      for (const shard of shards) await writeShard(folder, shard, { make, seed: flags.seed, signal, onBytes });
      if (shards.length > 1) await writeFile(join(folder, INDEX_NAME), shardIndex(shards));
      await writeFile(join(folder, "config.json"), config);
      const copied = await copyTokenizer(flags.tokenizer, dirname(flags.config), folder);
      return { files: [...shards.map(({ name }) => name), "config.json", ...copied] };
    });
    const seconds = (performance.now() - began) / 1000;
    const report = {
      out: flags.out,
      tensors: specs.length,
      bytes: total,
      seconds,
      megabytesPerSecond: total / 1e6 / seconds,
      madeBy: gpu?.adapterName ?? "CPU",
      files,
    };
    status("");
    process.stdout.write(
      flags.json
        ? `${JSON.stringify(report)}\n`
        : `${basename(flags.out)}: ${specs.length} tensors, ${(total / 1e9).toFixed(2)} GB in ${seconds.toFixed(1)} s (${report.megabytesPerSecond.toFixed(0)} MB/s, made by ${report.madeBy})\n`,
    );
  } finally {
    gpu?.close();
  }
}
