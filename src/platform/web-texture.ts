import { once } from "./once.ts";
import type { RgbaPixels } from "./platform.ts";

const fits = ({ limits }: GPUDevice, width: number, height: number): boolean =>
  Math.max(width, height) <= limits.maxTextureDimension2D && (width * 4 + 256) * height <= limits.maxBufferSize;

/** A device for reading pictures. Not the model's: this works before one is loaded. Its first use opens it, and the first after it was lost. */
let readerDevice = once(openReader);

async function openReader(): Promise<GPUDevice | undefined> {
  const adapter = await navigator.gpu?.requestAdapter();
  const device = await adapter?.requestDevice({
    label: "internvl pictures",
    requiredLimits: { maxTextureDimension2D: adapter.limits.maxTextureDimension2D },
  });
  const anew = () => {
    readerDevice = once(openReader);
  };
  if (device) device.lost.then(anew);
  else anew(); // there may be an adapter later
  return device;
}

/**
 * Reads pixels through a texture; `undefined` where one cannot be so large, or there is no WebGPU. A 2D canvas cannot: it stores colours
 * multiplied by alpha, so that what is transparent comes back black, and colours under a small alpha come back rounded.
 */
export async function throughTexture(source: GPUCopyExternalImageSource, width: number, height: number): Promise<RgbaPixels | undefined> {
  const device = await readerDevice();
  if (!device || !fits(device, width, height)) return undefined;
  const size = { width, height };
  const texture = device.createTexture({
    size,
    format: "rgba8unorm",
    usage: GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC | GPUTextureUsage.RENDER_ATTACHMENT,
  });
  const rowBytes = Math.ceil((width * 4) / 256) * 256; // WebGPU copies rows at multiples of 256 bytes
  const buffer = device.createBuffer({ size: rowBytes * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  try {
    device.queue.copyExternalImageToTexture({ source }, { texture, colorSpace: "srgb", premultipliedAlpha: false }, size);
    const encoder = device.createCommandEncoder();
    encoder.copyTextureToBuffer({ texture }, { buffer, bytesPerRow: rowBytes }, size);
    device.queue.submit([encoder.finish()]);
    await buffer.mapAsync(GPUMapMode.READ);
    const rows = new Uint8Array(buffer.getMappedRange());
    const data = new Uint8ClampedArray(width * height * 4);
    for (let y = 0; y < height; y++) data.set(rows.subarray(y * rowBytes, y * rowBytes + width * 4), y * width * 4);
    return { data, width, height };
  } finally {
    texture.destroy();
    buffer.destroy();
  }
}
