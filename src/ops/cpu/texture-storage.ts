import { EngineError } from "../../errors.ts";
import type { ScratchKind } from "../../gpu/arena.ts";
import type { Gpu } from "../../gpu/device.ts";
import { compiles } from "../../gpu/language.ts";
import type { Memory } from "../../gpu/memory.ts";
import type { Program, Step } from "../../gpu/program.ts";
import { type Bindable, bindingOf } from "../../tensor/tensor.ts";

/** vec4s in a row of a texture: cpu/lib/texture counts on through the rows. */
export const TEXTURE_WIDTH = 4096;

const readers = new WeakSet<GPUDevice>();

/** Whether shaders of this device may read storage textures; known once `probeTextureStorage` has asked. */
export const readsTextureStorage = ({ device }: Gpu): boolean => readers.has(device);

/** Asks for the language feature readonly_and_readwrite_storage_textures (in Chromium since 124). */
export async function probeTextureStorage({ device }: Gpu): Promise<void> {
  const probe = "@group(0) @binding(0) var probe: texture_storage_2d<rgba32float, read>;";
  if (await compiles(device, "texture storage", probe)) readers.add(device);
}

/** A texture of at least `count` vec4s of f32. @throws EngineError limit-exceeded */
function createTexture(memory: Memory, count: number): GPUTexture {
  const label = "activations in texture storage";
  const { device } = memory;
  const height = Math.max(1, Math.ceil(count / TEXTURE_WIDTH));
  const most = device.limits.maxTextureDimension2D;
  if (height > most) {
    const hint = "use fewer tiles or a smaller maxContext";
    throw new EngineError("limit-exceeded", `texture "${label}" needs ${height} rows, this adapter allows ${most}`, { hint });
  }
  const usage = GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST;
  return memory.hold({ label, bytes: 16 * TEXTURE_WIDTH * height }, () =>
    device.createTexture({ label, size: [TEXTURE_WIDTH, height], format: "rgba32float", usage }),
  );
}

/**
 * Scratch storage of vec4s of f32 as a texture, which CPU adapters read faster than a buffer: kernels find vec4 i by cpu/lib/texture,
 * `copyToTexture` fills it.
 */
export const TEXTURE_STORAGE: ScratchKind<GPUTexture> = {
  round: (count) => Math.ceil(count / TEXTURE_WIDTH) * TEXTURE_WIDTH, // whole rows are made
  make: createTexture,
};

interface TextureCopy {
  /** vec4s of f32, as many as fill the texture's rows. */
  from: Bindable;
  to: GPUTexture;
  /** vec4s of a step; whole rows of the texture are copied. */
  count: (step: Step) => number;
}

/** Fills texture storage from a buffer: faster than a kernel that stores to it vec4 by vec4. */
export function copyToTexture(program: Program, { from, to, count }: TextureCopy): void {
  const { buffer, offset = 0 } = bindingOf(from);
  program.command({
    wanted: (step) => count(step) > 0,
    encode(encoder, step) {
      const rows = Math.ceil(count(step) / TEXTURE_WIDTH);
      encoder.copyBufferToTexture({ buffer, offset, bytesPerRow: 16 * TEXTURE_WIDTH }, { texture: to }, [TEXTURE_WIDTH, rows]);
    },
  });
}

/** A texture for what `fill` writes to a buffer: `most` vec4s, of which a step copies as many as `count` says. */
export function inTextureStorage(
  program: Program,
  most: number,
  count: (step: Step) => number,
  fill: (staged: Bindable) => void,
): GPUTexture {
  const to = program.arena.takeOther(TEXTURE_STORAGE, most);
  program.arena.scope(() => {
    const staged = program.arena.take(16 * TEXTURE_STORAGE.round(most));
    fill(staged);
    copyToTexture(program, { from: staged, to, count });
  });
  return to;
}
