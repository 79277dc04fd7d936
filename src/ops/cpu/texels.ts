import { EngineError } from "../../errors.ts";
import type { ScratchKind } from "../../gpu/arena.ts";
import type { Gpu } from "../../gpu/device.ts";
import { compiles } from "../../gpu/language.ts";
import type { Memory } from "../../gpu/memory.ts";
import type { Program, Step } from "../../gpu/program.ts";
import type { Bindable } from "../../tensor/tensor.ts";
import { bindingOf } from "../../tensor/tensor.ts";

/** Texels in a row of a texture: cpu/lib/texture counts on through the rows. */
export const TEXELS_WIDE = 4096;

const readers = new WeakSet<GPUDevice>();

/** Whether shaders of this device may read storage textures; known once `probeTexels` has asked. */
export const readsTexels = ({ device }: Gpu): boolean => readers.has(device);

/** Asks for the language feature readonly_and_readwrite_storage_textures (in Chromium since 124). */
export async function probeTexels({ device }: Gpu): Promise<void> {
  const probe = "@group(0) @binding(0) var probe: texture_storage_2d<rgba32float, read>;";
  if (await compiles(device, "texels", probe)) readers.add(device);
}

/** A texture of at least `count` vec4s of f32. @throws EngineError limit-exceeded */
function createTexels(memory: Memory, count: number): GPUTexture {
  const label = "activations in texels";
  const { device } = memory;
  const height = Math.max(1, Math.ceil(count / TEXELS_WIDE));
  const most = device.limits.maxTextureDimension2D;
  if (height > most) {
    throw new EngineError("limit-exceeded", `texture "${label}" needs ${height} rows of texels, this adapter allows ${most}`, {
      hint: "use fewer tiles or a smaller maxContext",
    });
  }
  const usage = GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST;
  return memory.hold({ label, bytes: 16 * TEXELS_WIDE * height }, () =>
    device.createTexture({ label, size: [TEXELS_WIDE, height], format: "rgba32float", usage }),
  );
}

/**
 * Scratch storage of vec4s of f32 as a texture, which CPU adapters read faster than a buffer: kernels read texel i by cpu/lib/texture,
 * `copyTexels` fills it.
 */
export const TEXELS: ScratchKind<GPUTexture> = {
  round: (count) => Math.ceil(count / TEXELS_WIDE) * TEXELS_WIDE, // whole rows are made
  make: createTexels,
};

interface TexelCopy {
  /** vec4s of f32, as many as fill the texture's rows. */
  from: Bindable;
  to: GPUTexture;
  /** vec4s of a step; whole rows of texels are copied. */
  count: (step: Step) => number;
}

/** Texels from a buffer: faster than a kernel that stores them one by one. */
export function copyTexels(program: Program, { from, to, count }: TexelCopy): void {
  const { buffer, offset = 0 } = bindingOf(from);
  program.command({
    wanted: (step) => count(step) > 0,
    encode(encoder, step) {
      const rows = Math.ceil(count(step) / TEXELS_WIDE);
      encoder.copyBufferToTexture({ buffer, offset, bytesPerRow: 16 * TEXELS_WIDE }, { texture: to }, [TEXELS_WIDE, rows]);
    },
  });
}

/** A texture for what `fill` writes to a buffer: `most` vec4s, of which a step copies as many as `count` says. */
export function texelsOf(program: Program, most: number, count: (step: Step) => number, fill: (staged: Bindable) => void): GPUTexture {
  const to = program.arena.takeOther(TEXELS, most);
  program.arena.scope(() => {
    const staged = program.arena.take(16 * TEXELS.round(most));
    fill(staged);
    copyTexels(program, { from: staged, to, count });
  });
  return to;
}
