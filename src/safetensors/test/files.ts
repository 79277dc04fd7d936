// Builders for good and bad files. What is bad is written by hand: the writer refuses to make it.
import { type ByteSource, type Directory, memorySource, type TensorToWrite, writeSafetensors } from "../index.ts";

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A file of `header` (text or bytes), as it stands, and `data` zero bytes. `length` overrides the header's true length. */
export function rawFile(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? utf8(header) : header;
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  return concat(prefix, text, new Uint8Array(data));
}

/** One entry of a header. */
export const entry = (dtype: string, shape: string, begin: number | string, end: number | string): string =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`;

/** A sink that keeps everything, and the size of each write. */
export function memorySink() {
  const parts: Uint8Array[] = [];
  return { parts, write: async (bytes: Uint8Array) => void parts.push(bytes.slice()), bytes: () => concat(...parts) };
}

/** Bytes that differ from tensor to tensor and from place to place. */
export const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 97 + (i >> 8)) & 255);

export async function fileOf(tensors: readonly TensorToWrite[], metadata?: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const sink = memorySink();
  await writeSafetensors(sink, tensors, metadata);
  return sink.bytes();
}

/** A good file of U8 tensors, 4 bytes each. */
export const bytesFile = (...names: string[]): Promise<Uint8Array> =>
  fileOf(names.map((name, i) => ({ name, dtype: "U8", shape: [4], data: () => pattern(4, i) })));

/** A directory in memory that tells which sources are still open, and refuses to close one twice. */
export function memoryDirectory(files: Record<string, Uint8Array | ByteSource>) {
  const open = new Set<string>();
  const asked: string[] = [];
  const directory: Directory = {
    async open(name) {
      asked.push(name);
      const file = Object.hasOwn(files, name) ? files[name]! : undefined;
      if (!file) return undefined;
      const source = file instanceof Uint8Array ? memorySource(name, file) : file;
      open.add(name);
      return {
        ...source,
        async close() {
          if (!open.delete(name)) throw new Error(`${name} was closed twice`);
        },
      };
    },
  };
  return { directory, open, asked };
}

export const indexFile = (weightMap: Record<string, string>): Uint8Array =>
  utf8(JSON.stringify({ metadata: { total_size: 8 }, weight_map: weightMap }, null, 2));
