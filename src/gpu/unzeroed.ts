import { Memory } from "./memory.ts";

/**
 * Memory of a device that does not zero storage before its first use (platform: `NamedAdapter.zeroes`): what has to be zero is zeroed
 * here. Where the adapter's memory is the machine's, that saves a seventh of a load: weights fill their buffers anyway.
 */
export class UnzeroedMemory extends Memory {
  override create(label: string, bytes: number, usage?: GPUBufferUsageFlags): GPUBuffer {
    if (usage && usage & GPUBufferUsage.MAP_READ) return super.create(label, bytes, usage); // it is copied to before it is read
    const buffer = super.create(label, bytes, usage && usage | GPUBufferUsage.COPY_DST);
    this.#zero(buffer);
    return buffer;
  }

  override createToFill(label: string, bytes: number): GPUBuffer {
    const buffer = super.create(label, bytes);
    if (buffer.size > bytes) this.#zero(buffer); // the rest of the last vec4
    return buffer;
  }

  #zero(buffer: GPUBuffer): void {
    const encoder = this.device.createCommandEncoder({ label: `zero ${buffer.label}` });
    encoder.clearBuffer(buffer);
    this.device.queue.submit([encoder.finish()]);
  }
}
