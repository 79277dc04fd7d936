import { LFS_HINT, LFS_PROBLEM, quote, SafetensorsError } from "./errors.ts";
import { decodeUtf8, JsonReader } from "./json.ts";
import { readRange } from "./source.ts";
import { type ByteSource, byteLength, DTYPES, type Header, isDtype, type TensorInfo } from "./types.ts";

/** The longest header that upstream accepts, in bytes. */
export const MAX_HEADER = 100_000_000;

// Upstream knows no limit; numpy and PyTorch stop at 64.
const MAX_RANK = 64;

/** Keys in __metadata__; training logs that are kept there have about a hundred. */
const MAX_METADATA = 2 ** 12;

const DAMAGED = "the file is damaged or incomplete: fetch it again";
const FOREIGN = "this is not a safetensors file, or it is damaged";

/** "version ", with which the text begins that Git LFS puts in place of a large file, read as a length. */
const LFS = new DataView(new TextEncoder().encode("version ").buffer).getBigUint64(0, true);

/** What `headerLength` looks at: the length and the header's first byte. */
const PREFIX = 9;

/** A source may have its size from a server: what is not a size must not steer a read. */
function checkSize(size: number, file: string): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new SafetensorsError(`its size is given as ${size}, needs an integer from 0 to 2^53 - 1`, { file });
  }
}

/** The header's length in bytes, from the file's first 9 bytes; checked against the size of the file before anyone reads that much. */
function headerLength(bytes: Uint8Array, fileSize: number, file: string): number {
  checkSize(fileSize, file);
  const has = Math.min(fileSize, bytes.length);
  if (has < 8) throw new SafetensorsError(`has ${has} bytes, needs at least 8 (the header's length)`, { file, hint: DAMAGED });
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length === LFS) throw new SafetensorsError(LFS_PROBLEM, { file, hint: LFS_HINT });
  if (length > BigInt(MAX_HEADER)) {
    throw new SafetensorsError(`claims a header of ${length} bytes, the limit is ${MAX_HEADER}`, { file, hint: FOREIGN });
  }
  if (Number(length) > fileSize - 8) {
    throw new SafetensorsError(`claims a header of ${length} bytes, but only ${fileSize - 8} follow`, { file, hint: DAMAGED });
  }
  const first = length === 0n ? undefined : bytes[8];
  if (first !== 0x7b) {
    const begins = first === undefined ? "is empty" : `begins with byte 0x${first.toString(16).padStart(2, "0")}`;
    throw new SafetensorsError(`the header ${begins}, needs to begin with "{"`, { file, hint: FOREIGN });
  }
  return Number(length);
}

/** Reads `{"key": "text", …}`. */
function readMetadata(json: JsonReader, file: string): Map<string, string> {
  const metadata = new Map<string, string>();
  if (json.peek() !== "{") throw new SafetensorsError(`__metadata__ is ${json.describe()}, needs an object of strings`, { file });
  json.object((key) => {
    if (json.peek() !== '"') throw new SafetensorsError(`__metadata__ ${quote(key)} is ${json.describe()}, needs a string`, { file });
    metadata.set(key, json.string());
  }, MAX_METADATA);
  return metadata;
}

/** Reads one entry `{dtype, shape, data_offsets}`, and checks all that can be checked without its neighbours. */
function readTensorInfo(json: JsonReader, name: string, dataStart: number, fileSize: number, file: string): TensorInfo {
  const refuse = (problem: string, hint?: string) => new SafetensorsError(problem, { file, tensor: name, hint });

  function integers(what: string): number[] {
    const items: number[] = [];
    if (json.peek() !== "[") throw refuse(`${what} is ${json.describe()}, needs a list of integers`);
    json.array(() => {
      if (items.length === MAX_RANK) throw refuse(`${what} has more than ${MAX_RANK} numbers`);
      const item = json.integer();
      if (item === undefined) throw refuse(`${what} holds ${json.describe()}, needs plain integers from 0 to 2^53 - 1`);
      items.push(item);
    });
    return items;
  }

  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  if (json.peek() !== "{") throw refuse(`its entry is ${json.describe()}, needs an object`);
  json.object((key) => {
    if (key === "shape") shape = integers(key);
    else if (key === "data_offsets") offsets = integers(key);
    else if (key !== "dtype") throw refuse(`its entry has an unknown key ${quote(key)}`);
    else if (json.peek() !== '"') throw refuse(`dtype is ${json.describe()}, needs a string`);
    else dtype = json.string();
  });
  if (dtype === undefined) throw refuse('its entry has no "dtype"');
  if (shape === undefined) throw refuse('its entry has no "shape"');
  if (offsets === undefined) throw refuse('its entry has no "data_offsets"');

  if (/^F[46](_|$)/.test(dtype)) throw refuse(`dtype ${quote(dtype)} packs elements below a byte, which is not supported`);
  if (!isDtype(dtype)) throw refuse(`unknown dtype ${quote(dtype)}`, `known are ${DTYPES.join(" ")}`);
  if (offsets.length !== 2) throw refuse(`data_offsets has ${offsets.length} numbers, needs 2 (begin, end)`);
  const [begin, end] = offsets as [number, number];
  const dataSize = fileSize - dataStart;
  if (begin > end) throw refuse(`data_offsets begin at ${begin}, after their end ${end}`);
  if (end > dataSize) throw refuse(`its data ends at byte ${end}, but the file holds only ${dataSize} bytes of data`, DAMAGED);

  const needed = byteLength(dtype, shape);
  const type = `shape [${shape.slice(0, 8).join(", ")}${shape.length > 8 ? ", …" : ""}] of ${dtype}`;
  if (needed === undefined) throw refuse(`${type} overflows: more than 2^53 - 1 bytes`);
  if (needed !== end - begin) throw refuse(`${type} needs ${needed} bytes, but data_offsets span ${end - begin}`);
  return { name, dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

/** Sorts the tensors by their bytes and checks that they tile the data: no hole, no overlap, no byte left over. */
function checkTiling(infos: TensorInfo[], dataStart: number, fileSize: number, file: string): void {
  infos.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = dataStart;
  let last: TensorInfo | undefined;
  for (const info of infos) {
    if (info.begin !== end) {
      const before = last ? `${quote(last.name)} ends` : "the data begins";
      const gap = info.begin > end ? `a hole of ${info.begin - end} bytes` : `an overlap of ${end - info.begin} bytes`;
      const problem = `its data begins at byte ${info.begin - dataStart}, but ${before} at ${end - dataStart}: ${gap}`;
      throw new SafetensorsError(problem, { file, tensor: info.name });
    }
    end = info.end;
    last = info;
  }
  if (end !== fileSize) {
    const problem = `the tensors end at byte ${end - dataStart} of the data, but the file holds ${fileSize - dataStart}: ${fileSize - end} too many`;
    throw new SafetensorsError(problem, { file, hint: "something was appended to the file, or its header is damaged" });
  }
}

/**
 * Parses and checks a header by every rule of the format; stricter than upstream in refusing duplicate and unknown keys.
 *
 * @param bytes the file from its first byte to at least the end of its header
 * @param fileSize bytes in the whole file
 * @param fileName what messages call the file
 * @throws SafetensorsError naming the file, the tensor where there is one, what it has and what it needs
 */
export function parseHeader(bytes: Uint8Array, fileSize: number, fileName: string): Header {
  const dataStart = 8 + headerLength(bytes, fileSize, fileName);
  if (bytes.length < dataStart) throw new SafetensorsError(`${bytes.length} bytes were given, needs ${dataStart}`, { file: fileName });
  const json = new JsonReader(decodeUtf8(bytes.subarray(8, dataStart), fileName, "the header"), fileName);

  let metadata = new Map<string, string>();
  const infos: TensorInfo[] = [];
  json.object((name) => {
    if (name === "__metadata__") {
      metadata = readMetadata(json, fileName);
      return;
    }
    json.tensor = name;
    infos.push(readTensorInfo(json, name, dataStart, fileSize, fileName));
    json.tensor = undefined;
  });
  json.end(/ */y); // the only padding the format allows

  checkTiling(infos, dataStart, fileSize, fileName);
  return { metadata, tensors: new Map(infos.map((info) => [info.name, info])), dataStart };
}

/**
 * Reads and checks a file's header: first 9 bytes, then the header, and that only once its length is known to lie in the file.
 *
 * @throws SafetensorsError as `parseHeader`, or on a short read; what the source or the signal throws passes through
 */
export async function readHeader(source: ByteSource, signal?: AbortSignal): Promise<Header> {
  const { name, size } = source;
  checkSize(size, name);
  const prefix = await readRange(source, 0, Math.min(PREFIX, size), { signal });
  const length = headerLength(prefix, size, name);
  return parseHeader(await readRange(source, 0, 8 + length, { signal }), size, name);
}
