import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { type OutputFolder, writeWhole } from "../hub/output.ts";
import { type Dtype, INDEX_NAME, type TensorToWrite, writeSafetensors } from "../safetensors/index.ts";
import { BYTES_PER_ELEMENT, GROUP, isQuantized, type MatrixDtype, type MatrixPart } from "../tensor/tensor.ts";
import { isCoded, PLAIN, SCALES_SUFFIX } from "./formats.ts";
import { type Converter, converterOn } from "./quantize.ts";
import { CHUNK_BYTES } from "./reads.ts";
import { planShards, shardIndex } from "./shards.ts";
import { piecesOf, type TensorSource } from "./tensor-source.ts";

/** What a checkpoint can be converted to. */
export type ConvertFormat = MatrixDtype;

/** A checkpoint that is to be written in another format. */
export interface ConvertRequest {
  source: TensorSource;
  to: ConvertFormat;
  /** Where the converted files go. */
  out: OutputFolder;
  /** Put into every file's `__metadata__`. */
  metadata: ReadonlyMap<string, string>;
  shardBytes: number;
  signal?: AbortSignal | undefined;
  onBytes?: ((bytes: number) => void) | undefined;
}

const STORED: Readonly<Record<ConvertFormat, Dtype>> = { q4: "U8", q8: "I8", f32: "F32", f16: "F16", bf16: "BF16" };

/** Whether a tensor changes: matrices do, except for those whose rows are not whole groups; vectors stay as they are, and so do codes. */
function converts(source: TensorSource, name: string, to: ConvertFormat): boolean {
  const { dtype, shape } = source.get(name)!;
  if (isCoded(source, name)) return false;
  const from = PLAIN[dtype];
  if (!from)
    throw new EngineError("bad-input", `tensor "${name}" has dtype ${dtype}, only ${Object.keys(PLAIN).join(", ")} can be converted`, {
      hint: "give the original checkpoint",
    });
  if (isQuantized(to)) return shape.length === 2 && shape[1]! % GROUP === 0;
  return from !== to && (shape.length === 2 || shape.length === 4);
}

/** A tensor converted piece by piece on the GPU, and read back. The scales are complete when the codes have been given out. */
function convertTensor(gpu: Gpu, converter: Converter, name: string, request: ConvertRequest): TensorToWrite[] {
  const { source, to, signal, onBytes } = request;
  const tensor = source.get(name)!;
  const from = PLAIN[tensor.dtype]!;
  const [out, inner] = tensor.shape as [number, number];
  const groups = isQuantized(to) ? (out * inner) / GROUP : 0;
  let scales = new Uint8Array(0);

  async function* data(): AsyncGenerator<Uint8Array, void, undefined> {
    const { memory } = gpu;
    const most = CHUNK_BYTES / BYTES_PER_ELEMENT[from];
    const codes = memory.create("converted", most * BYTES_PER_ELEMENT[to]);
    const halves = groups ? memory.create("converted scales", (most / GROUP) * 2) : undefined;
    const part: MatrixPart = { rowStart: 0, rows: 1, buffer: codes, ...(halves ? { scales: halves } : {}) };
    scales = new Uint8Array(2 * groups);
    try {
      const counter = converter.counter(name, to);
      for await (const chunk of source.stream([name], signal)) {
        const { offset, length } = chunk;
        await converter.convert(chunk, [offset, offset + length], from, to, part, 0, counter);
        const elements = length / BYTES_PER_ELEMENT[from];
        if (halves) {
          const bytes = (elements / GROUP) * 2;
          const read = await memory.read(halves, 0, Math.ceil(bytes / 4) * 4);
          scales.set(new Uint8Array(read, 0, bytes), (offset / BYTES_PER_ELEMENT[from] / GROUP) * 2);
        }
        onBytes?.(length);
        yield new Uint8Array(await memory.read(codes, 0, elements * BYTES_PER_ELEMENT[to]));
      }
    } finally {
      memory.destroy(codes);
      if (halves) memory.destroy(halves);
    }
  }

  const codes: TensorToWrite = { name, dtype: STORED[to], shape: to === "q4" ? [out, inner / 2] : tensor.shape, data };
  return groups ? [codes, { name: name + SCALES_SUFFIX, dtype: "F16", shape: [out, inner / GROUP], data: () => scales }] : [codes];
}

/** A tensor that is written as it comes. */
function copyTensor(gpu: Gpu, name: string, { source, signal, onBytes }: ConvertRequest): TensorToWrite {
  const { dtype, shape } = source.get(name)!;
  async function* data(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const { bytes } of piecesOf(gpu, source, name, signal)) {
      onBytes?.(bytes.length);
      yield bytes.slice(); // the writer keeps small pieces until there are enough for a write, a piece lasts until the next one is asked for
    }
  }
  return { name, dtype: dtype as Dtype, shape, data };
}

/**
 * Writes a checkpoint's tensors in another format: the same names, and `NAME.scales` beside quantised ones. The GPU's kernels do it,
 * the same as while loading, so that both give the same weights. Codes stay as they come.
 *
 * @throws EngineError bad-weights where values do not fit the format
 */
export async function convertTensors(gpu: Gpu, request: ConvertRequest): Promise<void> {
  const { source, to, out, metadata, shardBytes } = request;
  const converter = converterOn(gpu);
  let done = false;
  try {
    const tensors = [...source.names()].flatMap((name) => {
      return converts(source, name, to) ? convertTensor(gpu, converter, name, request) : [copyTensor(gpu, name, request)];
    });
    const shards = planShards(tensors, shardBytes);
    for (const shard of shards) {
      const sink = await out.create(shard.name);
      try {
        await writeSafetensors(sink, shard.tensors, metadata);
      } finally {
        await sink.close();
      }
    }
    if (shards.length > 1) await writeWhole(out, INDEX_NAME, shardIndex(shards));
    done = true;
  } finally {
    // After a failure that one is reported, not what the counters say.
    if (done) await converter.finish();
    else await converter.finish().catch(() => {});
  }
}
