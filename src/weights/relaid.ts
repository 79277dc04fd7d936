import type { Gpu } from "../gpu/device.ts";
import { PLAIN } from "./formats.ts";
import { CHUNK_BYTES } from "./reads.ts";
import type { RowBlock } from "./rows.ts";
import { bytesOf, type Chunk, madeTensors, piecesOf, type StoredTensor, type TensorSource } from "./tensor-source.ts";
import { widen } from "./uploads.ts";

/** A tensor made of rows of others. */
export interface Relaid {
  name: string;
  shape: readonly number[];
  /** `from` counts the other tensor's rows, `to` its own. */
  parts: readonly (RowBlock & { name: string })[];
}

/** A tensor that is another one whole, by another name. */
const renamed = ({ shape, parts }: Relaid, source: TensorSource): string | undefined => {
  const [{ name, rows }] = parts as [RowBlock & { name: string }];
  return parts.length === 1 && rows === shape[0] && rows === source.get(name)!.shape[0] ? name : undefined;
};

/**
 * A checkpoint's tensors as another layout has them. One that is put together of several is held in memory while it goes by (the largest
 * published: 123 MB); where those come in different dtypes, it is f32.
 */
export function relaidTensors(gpu: Gpu, source: TensorSource, tensors: readonly Relaid[]): TensorSource {
  const dtypeOf = ({ parts }: Relaid): string => {
    const dtypes = new Set(parts.map(({ name }) => source.get(name)!.dtype));
    return dtypes.size === 1 ? [...dtypes][0]! : "F32";
  };

  async function assembled(tensor: Relaid, signal?: AbortSignal): Promise<Uint8Array> {
    const { shape, parts } = tensor;
    const dtype = dtypeOf(tensor);
    const whole = new Uint8Array(bytesOf({ dtype, shape }));
    const rowBytes = whole.length / shape[0]!;
    for (const name of new Set(parts.map((part) => part.name))) {
      const stored = source.get(name)!.dtype;
      const bytes = new Uint8Array(bytesOf(source.get(name)!));
      for await (const piece of piecesOf(gpu, source, name, signal)) bytes.set(piece.bytes, piece.offset);
      const rows = stored === dtype ? bytes : new Uint8Array(widen(name, bytes, PLAIN[stored]!).buffer);
      for (const { name: of, from, to, rows: count } of parts) {
        if (of === name) whole.set(rows.subarray(from * rowBytes, (from + count) * rowBytes), to * rowBytes);
      }
    }
    return whole;
  }

  async function* stream(names: Iterable<string>, signal: AbortSignal | undefined): AsyncGenerator<Chunk, void, undefined> {
    const wanted = new Set(names);
    for (const tensor of tensors) {
      const { name } = tensor;
      if (!wanted.has(name)) continue;
      const other = renamed(tensor, source);
      if (other !== undefined) {
        for await (const chunk of source.stream([other], signal)) yield { ...chunk, name };
        continue;
      }
      const whole = await assembled(tensor, signal);
      for (let offset = 0; offset < whole.length; offset += CHUNK_BYTES) {
        yield {
          ...{ name, offset, length: Math.min(CHUNK_BYTES, whole.length - offset) },
          bytes: async () => whole.subarray(offset, offset + CHUNK_BYTES),
          put: async (from, to, target, at) => gpu.memory.write(target, at, whole.subarray(from, to) as Uint8Array<ArrayBuffer>),
        };
      }
    }
  }

  const stored = (tensor: Relaid): StoredTensor => {
    const other = renamed(tensor, source);
    if (other !== undefined) return source.get(other)!;
    return { dtype: dtypeOf(tensor), shape: tensor.shape, read: (signal) => assembled(tensor, signal) };
  };
  return madeTensors(new Map(tensors.map((tensor) => [tensor.name, stored(tensor)])), stream);
}
