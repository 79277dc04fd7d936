import { quote, SafetensorsError } from "./errors.ts";
import { MAX_HEADER } from "./header.ts";
import { byteLength, type Dtype, isDtype } from "./types.ts";

/** A tensor as the header needs it. */
export interface TensorSpec {
  /** Any text but `__metadata__`, once a file. */
  readonly name: string;
  readonly dtype: Dtype;
  /** Outermost dimension first; `[]` is a scalar. */
  readonly shape: readonly number[];
}

/** A tensor and its bytes: dense, row-major, little-endian, exactly shape × dtype of them. */
export interface TensorToWrite extends TensorSpec {
  /** Called once, when the tensor's turn comes; chunks may be of any size. */
  data(): AsyncIterable<Uint8Array> | Uint8Array;
}

/** Where a file is written to. */
export interface ByteSink {
  /** Appends bytes; the writer awaits it before it goes on. */
  write(bytes: Uint8Array): Promise<void>;
}

function sizeOf({ name, dtype, shape }: TensorSpec): number {
  const refuse = (problem: string) => new SafetensorsError(problem, { tensor: name });
  if (name === "__metadata__") throw refuse("the format reserves this name");
  checkText(name, "its name", name);
  if (!isDtype(dtype)) throw refuse(`unknown dtype ${quote(String(dtype))}`);
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) throw refuse(`shape holds ${dimension}, needs integers from 0 to 2^53 - 1`);
  }
  return byteLength(dtype, shape) ?? overflow(name);
}

function overflow(tensor?: string): never {
  throw new SafetensorsError("the size overflows: more than 2^53 - 1 bytes", { tensor });
}

/** Half a surrogate pair has no UTF-8: the file would hold another text than the one given. */
function checkText(text: string, what: string, tensor?: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new SafetensorsError(`${what} has half a surrogate pair: ${quote(text)}`, { tensor });
}

/**
 * The bytes of a file up to its data: the length (u64, little-endian) and the JSON header, padded with spaces to a multiple of 8.
 * Tensors are laid out in the order given, with no gaps: put wide dtypes first where readers map the file and want alignment.
 *
 * @throws SafetensorsError on duplicate or reserved names, unknown dtypes, bad shapes, and sizes past 2^53 - 1 bytes or a 100 MB header
 */
export function encodeHeader(tensors: readonly TensorSpec[], metadata?: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer> {
  const entries: string[] = [];
  if (metadata && metadata.size > 0) {
    const pairs = [...metadata].map(([key, value]) => {
      if (typeof value !== "string") throw new SafetensorsError(`metadata ${quote(key)} is a ${typeof value}, needs a string`);
      checkText(`${key}\n${value}`, `metadata ${quote(key)}`);
      return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
    });
    entries.push(`"__metadata__":{${pairs.join(",")}}`);
  }

  const names = new Set<string>();
  let begin = 0;
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    const end = begin + sizeOf(tensor);
    if (!Number.isSafeInteger(end)) overflow(name);
    if (names.has(name)) throw new SafetensorsError("two tensors have this name", { tensor: name });
    names.add(name);
    entries.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${begin},${end}]}`);
    begin = end;
  }

  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER) throw new SafetensorsError(`the header has ${length} bytes, the limit is ${MAX_HEADER}`);
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/**
 * Writes a safetensors file, one chunk after another, in the order of `tensors`. Nothing is held but the header and the current chunk.
 *
 * @throws SafetensorsError as `encodeHeader`, before anything is written; and naming the tensor where its data is not exactly
 * shape × dtype bytes. What was written by then is not a valid file. What the sink or the data throws passes through.
 */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: readonly TensorToWrite[],
  metadata?: ReadonlyMap<string, string>,
): Promise<void> {
  await sink.write(encodeHeader(tensors, metadata));
  for (const tensor of tensors) {
    const size = sizeOf(tensor);
    const data = tensor.data();
    let written = 0;
    for await (const chunk of data instanceof Uint8Array ? [data] : data) {
      written += chunk.length;
      if (written > size) throw new SafetensorsError(`gave ${written} bytes or more, needs ${size}`, { tensor: tensor.name });
      if (chunk.length > 0) await sink.write(chunk);
    }
    if (written < size) throw new SafetensorsError(`gave ${written} bytes, needs ${size}`, { tensor: tensor.name });
  }
}
