import { badWeights, EngineError, late, throwIfAborted } from "../errors.ts";
import { described, quoted, sizeText, wrong } from "../options.ts";
import { SafetensorsError } from "../safetensors/errors.ts"; // not all of the package, which comes when a model is loaded
import type { ByteSource } from "../safetensors/types.ts";
import { isForeign } from "./first-bytes.ts";
import type { StagedSource, WeightSource } from "./source-types.ts";

const MIB = 2 ** 20;

/** What a file beside the tensors may have at most, in bytes: generous, since the largest ones known are a tenth of it. */
const LIMITS: Readonly<Record<string, number>> = {
  "tokenizer.json": 128 * MIB,
  "vocab.json": 64 * MIB,
  "merges.txt": 64 * MIB,
  "tokenizer.model": 64 * MIB,
  "model.safetensors.index.json": 96 * MIB,
};
const OTHERS = 16 * MIB;

/** The most that a file of this name may have, in bytes. Files with tensors have no limit: they are never read as a whole. */
export const limitOf = (name: string): number => (name.endsWith(".safetensors") ? Number.POSITIVE_INFINITY : (LIMITS[name] ?? OTHERS));

/** @throws EngineError bad-weights where a file has more bytes than one of its name can */
export function checkSize(name: string, size: number): void {
  if (size <= limitOf(name)) return;
  const hint = "no checkpoint has such a file: fetch it again";
  throw badWeights(`${name} has ${sizeText(size)}, the limit is ${sizeText(limitOf(name))}`, hint);
}

/** What a source throws as this library's error: a caller may have brought it. */
async function asOurs<T>(what: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof EngineError || cause instanceof SafetensorsError) throw cause;
    throwIfAborted(signal);
    const hint = "its own error is the cause of this one";
    throw badWeights(`cannot ${what}: ${described((cause as Error | undefined)?.message)}`, hint, cause);
  }
}

/** A file that is looked at when its beginning is first read. */
function looked(file: ByteSource, ours: AbortSignal | undefined): ByteSource {
  const look = async (offset: number, bytes: Uint8Array): Promise<void> => {
    if (offset === 0 && isForeign(bytes))
      throw (await late("what tells what lies in a file's place", import("./foreign-errors.ts"))).foreign(file.name, bytes);
  };
  const failing = `read ${file.name}`;
  const { readInto } = file;
  return {
    name: file.name,
    size: file.size,
    async read(offset, length, signal) {
      const bytes = await asOurs(failing, signal ?? ours, () => file.read(offset, length, signal));
      await look(offset, bytes);
      return bytes;
    },
    ...(readInto && {
      async readInto(offset: number, into: Uint8Array, signal?: AbortSignal) {
        await asOurs(failing, signal ?? ours, () => readInto.call(file, offset, into, signal));
        await look(offset, into);
      },
    }),
    ...(file.close && { close: async () => file.close!() }),
  };
}

/** @throws EngineError bad-input where a caller's source opens something that is not a file */
function checkFile(name: string, file: ByteSource): void {
  const good = typeof file.read === "function" && Number.isSafeInteger(file.size) && file.size >= 0;
  if (!good) throw wrong(`what the model's source opens as ${quoted(name)}`, file, "{ name, size, read }");
}

/** A source whose files are held to their limits and are what their names say, wherever they come from. */
export function lookedAt(source: StagedSource, signal?: AbortSignal): StagedSource {
  const { download, has, list } = source;
  return {
    async open(name) {
      const file = await asOurs(`open ${name}`, signal, () => source.open(name));
      if (file === undefined || file === null) return undefined;
      checkFile(name, file);
      try {
        checkSize(name, file.size);
      } catch (error) {
        await file.close?.();
        throw error;
      }
      return looked(file, signal);
    },
    ...(has && { has: (name: string) => asOurs(`look for ${name}`, signal, () => has.call(source, name)) }),
    ...(list && { list: () => asOurs("list the files", signal, () => list.call(source)) }),
    ...(download && { download: () => asOurs("download the model", signal, () => download.call(source)) }),
  };
}

/** A whole small file of a source; `undefined` where there is none. @throws EngineError bad-weights where it is too large for its name */
export async function readSmall(source: WeightSource, name: string): Promise<Uint8Array | undefined> {
  const file = await source.open(name);
  if (!file) return undefined;
  try {
    checkSize(name, file.size);
    const bytes = await file.read(0, file.size);
    if (bytes instanceof Uint8Array && bytes.length === file.size) return bytes;
    const hint = "the file was cut short, or its source does not give what it says";
    throw badWeights(`reading all ${file.size} bytes of ${name} gave ${described(bytes)} of ${bytes?.length}`, hint);
  } finally {
    await file.close?.();
  }
}
