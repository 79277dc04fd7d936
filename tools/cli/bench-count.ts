/** WebGPU calls while something ran. */
export interface Calls {
  dispatches: number;
  bindGroups: number;
  buffers: number;
  readbacks: number;
}

/** Counts what `work` really asks of WebGPU, by standing in for the calls themselves meanwhile. */
export async function countCalls<T>(work: () => Promise<T>): Promise<{ result: T; calls: Calls }> {
  const calls: Calls = { dispatches: 0, bindGroups: 0, buffers: 0, readbacks: 0 };
  const undo: (() => void)[] = [];
  const watch = (type: { prototype: object }, name: string, what: keyof Calls) => {
    const prototype = type.prototype as Record<string, (...args: unknown[]) => unknown>;
    const original = prototype[name]!;
    prototype[name] = function (this: unknown, ...args) {
      calls[what]++;
      return original.apply(this, args);
    };
    undo.push(() => {
      prototype[name] = original;
    });
  };
  watch(GPUComputePassEncoder, "dispatchWorkgroups", "dispatches");
  watch(GPUComputePassEncoder, "dispatchWorkgroupsIndirect", "dispatches");
  watch(GPUDevice, "createBindGroup", "bindGroups");
  watch(GPUDevice, "createBuffer", "buffers");
  watch(GPUBuffer, "mapAsync", "readbacks");
  try {
    return { result: await work(), calls };
  } finally {
    for (const restore of undo) restore();
  }
}
