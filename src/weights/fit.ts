import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { BYTES_PER_ELEMENT, elementsOf, GROUP, isQuantized, type MatrixDtype } from "../tensor/tensor.ts";
import { isCoded, PLAIN, storedFormat } from "./formats.ts";
import { bytesOf, type StoredShapes } from "./tensor-source.ts";

/** Bytes that some of a checkpoint's weights take on the GPU in a format: matrices as asked, vectors in f32. What `auto` would hold otherwise stays so. */
export function weightBytes(source: StoredShapes, format: MatrixDtype, some: (name: string) => boolean = () => true): number {
  const asStored = format === storedFormat(source);
  let bytes = 0;
  for (const name of source.names()) {
    if (!some(name)) continue;
    const tensor = source.get(name)!;
    const { shape, dtype, held = PLAIN[dtype] ?? "f32" } = tensor;
    const elements = elementsOf(shape);
    const inner = elements / (shape[0] || 1);
    const matrix = shape.length === 2 || shape.length === 4; // 4: the patch embedding
    const to = asStored || (isQuantized(format) && inner % GROUP !== 0) ? held : format;
    if (isCoded(source, name)) bytes += bytesOf(tensor);
    else if (!matrix) bytes += elements * 4;
    else bytes += elements * BYTES_PER_ELEMENT[to] + (isQuantized(to) ? (elements / GROUP) * 2 : 0);
  }
  return bytes;
}

/** The formats that `auto` tries, best first: as stored, then smaller ones. What `convert` has quantised stays so; packed weights can be again. */
export function candidates(stored: MatrixDtype, packed: boolean): MatrixDtype[] {
  if (packed) return [stored, "q4"];
  return isQuantized(stored) ? [stored] : [stored, "q8", "q4"];
}

/** Bytes as people read them: `1.5 GiB`. */
export const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** Whether the GPU has room for some bytes: allocates them and gives them back. WebGPU does not tell how much there is. */
async function allocates(gpu: Gpu, bytes: number): Promise<boolean> {
  const { memory } = gpu;
  const buffers: GPUBuffer[] = [];
  try {
    await memory.scoped("trying the weights' size", async () => {
      for (let left = bytes; left > 0; left -= memory.maxBinding) buffers.push(memory.create("probe", Math.min(left, memory.maxBinding)));
    });
    return true;
  } catch (error) {
    if (error instanceof EngineError && error.code === "out-of-memory") return false;
    throw error;
  } finally {
    for (const buffer of buffers) memory.destroy(buffer);
    await memory.flush(); // only then is it free again
  }
}

/**
 * Why some bytes do not fit, or `undefined` where nothing speaks against it. A software adapter's memory is the machine's,
 * which is promised before it is there: `available` bytes are the measure. Any other adapter is tried.
 */
export async function misfit(gpu: Gpu, bytes: number, available: number | undefined): Promise<string | undefined> {
  if (gpu.kind === "cpu" && available !== undefined) {
    return bytes > available ? `needs ${gibibytes(bytes)}, the machine has ${gibibytes(available)} free` : undefined;
  }
  return (await allocates(gpu, bytes)) ? undefined : `needs ${gibibytes(bytes)}, which ${gpu.memory.owner} does not give`;
}
