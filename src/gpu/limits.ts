import { EngineError } from "../errors.ts";
import { type Bindable, bindingOf } from "../tensor/tensor.ts";

/** What a dispatch is about to ask of the device. */
export interface Demand {
  /** The kernel's name. */
  kernel: string;
  /** The kernel's own sizes, for messages. */
  params: readonly number[];
  /** Kinds of all bindings, and the buffers of those from 2 on. */
  bindings: string;
  buffers: readonly (Bindable | GPUTexture)[];
  /** Workgroups of a step that has the most units and begins at position 0. */
  grid: readonly [number, number, number];
}

function reject(code: "bad-input" | "limit-exceeded", { kernel, params }: Demand, problem: string): never {
  throw new EngineError(code, `kernel ${kernel} with sizes [${params.join(", ")}]: ${problem}`);
}

const labelOf = (storage: Bindable | GPUTexture): string => ("createView" in storage ? storage.label : bindingOf(storage).buffer.label);

const overlap = (a: Required<GPUBufferBinding>, b: Required<GPUBufferBinding>): boolean =>
  a.offset < b.offset + b.size && b.offset < a.offset + a.size;

/**
 * Throws for what the device would otherwise report later and elsewhere.
 *
 * @throws EngineError limit-exceeded: a binding or the grid is over a limit; bad-input: storage that cannot be bound so
 */
export function checkDemand({ limits }: GPUDevice, demand: Demand): void {
  const { bindings, buffers, grid } = demand;
  const most = limits.maxComputeWorkgroupsPerDimension;
  if (Math.max(...grid) > most) {
    reject("limit-exceeded", demand, `a step needs [${grid.join(", ")}] workgroups, this adapter allows ${most} a dimension`);
  }
  const ranges = buffers.flatMap((storage, i) => {
    const kind = bindings[i + 2];
    const texture = "createView" in storage;
    if (texture !== (kind === "t")) {
      const problem = texture ? "is a texture, it has to be a buffer" : "is a buffer, it has to be a texture";
      reject("bad-input", demand, `binding ${i + 2} (${JSON.stringify(labelOf(storage))}) ${problem}`);
    }
    if (texture) return [];
    const { buffer, offset = 0, size = buffer.size - offset } = bindingOf(storage) as GPUBufferBinding & { buffer: GPUBuffer };
    const name = `binding ${i + 2} (${JSON.stringify(buffer.label)})`;
    if (!(buffer.usage & GPUBufferUsage.STORAGE)) reject("bad-input", demand, `${name} is not a storage buffer`);
    const step = limits.minStorageBufferOffsetAlignment;
    if (offset % step) reject("bad-input", demand, `${name} starts at byte ${offset}, needs a multiple of ${step}`);
    if (size <= 0 || offset + size > buffer.size) {
      reject("bad-input", demand, `${name} covers bytes ${offset} to ${offset + size} of ${buffer.size}`);
    }
    if (size > limits.maxStorageBufferBindingSize) {
      reject("limit-exceeded", demand, `${name} has ${size} bytes, this adapter binds ${limits.maxStorageBufferBindingSize}`);
    }
    return [{ buffer, offset, size, name, written: kind === "w" }];
  });
  for (const [i, a] of ranges.entries()) {
    for (const b of ranges.slice(i + 1)) {
      if (a.buffer !== b.buffer || !(a.written || b.written)) continue;
      if (a.written !== b.written || overlap(a, b))
        reject("bad-input", demand, `${a.name} and ${b.name} are one buffer, and it is written`);
    }
  }
}
