import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import type { RgbImage } from "../media/image.ts";
import { normalizeTiles } from "../media/normalize.ts";
import { tileImage } from "../media/tiles.ts";
import type { ModelConfig } from "../model/config.ts";
import type { Tiles } from "../model/internvl.ts";
import { described } from "../options.ts";
import type { ImageOptions, PictureOptions } from "./image-options.ts";
import { address, bytesOfBlob, isBlob, isBuffer, isSrgb, isUrlObject, toRgb } from "./images.ts";
import { type Held, HeldImage, isPixels, type Picture, rawPixels, type Source } from "./pictures.ts";
import type { TileCache, Tiled } from "./tile-cache.ts";

/** What tiles a picture needs to know. */
export interface Tiling {
  config: ModelConfig;
  cache: TileCache;
  settings: PictureOptions;
  signal: AbortSignal;
}

const hash = async (bytes: Uint8Array | Uint8ClampedArray): Promise<string> =>
  new Uint32Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)).join(".");

/**
 * Bytes of their own: a caller may fill the same buffer with the next picture, and an earlier turn must still show the one that was asked
 * about. None where the buffer was moved away.
 */
const copied = (buffer: ArrayBufferLike, offset: number, length: number): Uint8Array =>
  length === 0 ? new Uint8Array() : new Uint8Array(buffer, offset, length).slice();

/** What a history can hold of a source; pixels where they had to be read from an object of the page. */
export async function holdable(source: Source, options: ImageOptions): Promise<{ held: Held; rgb?: RgbImage }> {
  if (typeof source === "string") return { held: source };
  const { name } = options;
  if (isUrlObject(source)) return { held: (await address()).addressOf(source, name) };
  if (ArrayBuffer.isView(source)) return { held: copied(source.buffer, source.byteOffset, source.byteLength) };
  if (isBuffer(source)) return { held: copied(source, 0, source.byteLength) };
  if (isBlob(source)) return { held: await bytesOfBlob(name, source) };
  if (isPixels(source) && isSrgb(source)) {
    const { data, width, height, channels } = rawPixels(source, name);
    return { held: { data: new Uint8Array(data), width, height, ...(channels ? { channels } : {}) } };
  }
  const file = await platform.fileOf(source);
  if (file) return { held: await bytesOfBlob(name, file) };
  const rgb = await toRgb(source as Exclude<typeof source, { data: string }>, options);
  return { held: { ...rgb, channels: 3 }, rgb };
}

/**
 * What names the content of a source, `undefined` where only reading it would tell: what lies at an address may have changed since. A data
 * URL is its own content.
 */
async function contentKey(held: Held): Promise<string | undefined> {
  if (typeof held === "string") return /^data:/i.test(held) ? held : undefined;
  if (held instanceof Uint8Array) return `file ${await hash(held)}`;
  return `pixels ${held.width} ${held.height} ${held.channels} ${await hash(held.data)}`;
}

async function tile(rgb: RgbImage, maxTiles: number, { config }: Tiling): Promise<Tiled> {
  const { minTiles, tileSize, thumbnail } = config;
  const { count, tiles } = tileImage(rgb, { maxTiles, minTiles: Math.min(minTiles, maxTiles), tileSize, thumbnail });
  const bytes = 3 * tileSize * tileSize;
  const keys: string[] = [];
  for (let i = 0; i < count; i++) keys.push(await hash(tiles.subarray(i * bytes, (i + 1) * bytes)));
  return { count, tiles, keys };
}

/** Whatever reading a picture throws is said of that picture. */
function pictureError(error: unknown, name: string, signal: AbortSignal): unknown {
  if (error instanceof EngineError || signal.aborted) return error;
  const message = error instanceof Error ? error.message : described(error);
  return new EngineError("bad-image", `${name} cannot be read: ${message}`, { hint: "check that it is there and whole", cause: error });
}

/** A picture cut into tiles, and what the history holds of it. */
export interface TiledPicture {
  parts: readonly Tiled[];
  count: number;
  held: HeldImage;
}

/**
 * Reads, decodes and tiles a picture; what was tiled before is taken from the cache, as far as that has it: by content, or, where it stands
 * in a history of ours, by the part that was made of it then.
 *
 * @throws EngineError bad-image, bad-input, network, aborted
 */
export async function tilePicture({ name, sources, maxTiles, part, key }: Picture, tiling: Tiling): Promise<TiledPicture> {
  const { config, cache, settings, signal } = tiling;
  const most = maxTiles ?? settings.maxTiles ?? (config.dynamicTiles ? config.maxTiles : 1);
  const how = JSON.stringify([most, settings.maxPixels, settings.maxSide, settings.allowTruncated, settings.decoder]);
  const known = key ?? (part instanceof HeldImage ? cache.idOf(part) : undefined);
  const parts: Tiled[] = [];
  const helds: Held[] = [];
  for (const [i, source] of sources.entries()) {
    const own = sources.length > 1 ? `${name}.${i + 1}` : name;
    const options = { name: own, ...settings, signal };
    try {
      const before = cache.get(`${how} ${known}/${i}`);
      const { held, rgb } = before && part instanceof HeldImage ? { held: source as Held } : await holdable(source, options);
      const content = rgb || before ? undefined : await contentKey(held);
      const found = before ?? cache.get(`${how} ${content}`);
      const tiled = found ?? (await tile(rgb ?? (await toRgb(held, options)), most, tiling));
      if (content) cache.put(`${how} ${content}`, tiled);
      parts.push(tiled);
      helds.push(held);
    } catch (error) {
      throw pictureError(error, own, signal);
    }
  }
  const ours = part instanceof HeldImage && part.maxTiles === most ? part : new HeldImage(helds, most);
  const id = key ?? cache.idOf(ours);
  if (key) cache.name(ours, key);
  for (const [i, tiled] of parts.entries()) cache.put(`${how} ${id}/${i}`, tiled);
  return { parts, count: parts.reduce((sum, { count }) => sum + count, 0), held: ours };
}

/** The tiles of all pictures, in order; they are normalised only when vision asks for them. */
export function promptTiles(parts: readonly Tiled[], size: number): Tiles | undefined {
  if (parts.length === 0) return undefined;
  const bytes = 3 * size * size;
  const each = parts.flatMap(({ tiles, count }) => Array.from({ length: count }, (_, i) => tiles.subarray(i * bytes, (i + 1) * bytes)));
  return {
    count: each.length,
    size,
    keys: parts.flatMap(({ keys }) => keys),
    pixels: (tile) => normalizeTiles(each[tile]!, 1, size) as Float32Array<ArrayBuffer>,
  };
}
