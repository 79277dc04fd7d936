// What a program with a device of its own has: compiled with @webgpu/types.
import { InternVL } from "internvl-webgpu";
import { openGpu } from "internvl-webgpu/testing";

const adapter = await navigator.gpu.requestAdapter();
const device: GPUDevice = await adapter!.requestDevice();
await InternVL.load("./model", { device });
const gpu = await openGpu(device);
const own: GPUDevice = gpu.device;
export const buffer: GPUBuffer = gpu.memory.create("mine", 16);
own.queue.writeBuffer(buffer, 0, new Uint8Array(16));
// @ts-expect-error: what the adapter gives, not the adapter
await InternVL.load("./model", { device: adapter! });
