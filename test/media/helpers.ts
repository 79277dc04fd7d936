import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import { expect } from "vitest";
import { EngineError } from "../../src/errors.ts";
import { decodeImage } from "../../src/media/decode.ts";
import type { ImageLimits, RgbImage } from "../../src/media/image.ts";

const ROOT = new URL("../../", import.meta.url);

/** One picture of test/fixtures/preprocess/cases.json, whose `layout` explains the fields. */
export interface GoldenCase {
  file: string;
  format: "PNG" | "JPEG";
  width: number;
  height: number;
  decoded_sha256: string;
  decoded_png?: string;
  runs: GoldenRun[];
}

export interface GoldenRun {
  max_num: number;
  grid_columns: number;
  grid_rows: number;
  tiles: number;
  thumbnail: boolean;
  tiles_sha256: string;
  tile_sha256: string[];
  sample_stride: number;
  pixel_values_mean: number;
  tiles_png?: string;
}

/** path: from the repository root. */
export function readBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(path, ROOT)));
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(new URL(path, ROOT), "utf8")) as T;
}

export const fixture = (name: string) => readBytes(`test/fixtures/preprocess/${name}`);
export const extra = (name: string) => readBytes(`test/media/extra/${name}`);
export const goldenCases = readJson<{ cases: GoldenCase[] }>("test/fixtures/preprocess/cases.json").cases;

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The float32 tensors of a safetensors file: 8 bytes of header length, JSON, data. */
export function readFloats(bytes: Uint8Array): Map<string, Float32Array> {
  const headerLength = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)));
  delete header.__metadata__;
  return new Map(
    Object.entries<{ dtype: string; data_offsets: [number, number] }>(header).map(([name, { dtype, data_offsets }]) => {
      if (dtype !== "F32") throw new Error(`${name} is ${dtype}`);
      const data = bytes.slice(8 + headerLength + data_offsets[0], 8 + headerLength + data_offsets[1]);
      return [name, new Float32Array(data.buffer)];
    }),
  );
}

/** How far two pictures of one size are apart, in levels. */
export function difference(a: Uint8Array, b: Uint8Array): { max: number; mean: number; equal: number } {
  expect(a.length).toBe(b.length);
  let [max, sum, equal] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    if (d > max) max = d;
    if (d === 0) equal++;
    sum += d;
  }
  return { max, mean: sum / a.length, equal: equal / a.length };
}

/** What decoding does: a picture, or the bad-image error. Anything else fails the test. */
export async function attempt(bytes: Uint8Array, limits: ImageLimits = {}): Promise<RgbImage | EngineError> {
  try {
    return await decodeImage(bytes, limits);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "bad-image") throw error;
    expect(error.message.length).toBeGreaterThan(10);
    expect(error.hint).toBeTruthy();
    expect(error.message).not.toMatch(/undefined|is not a function|cannot read|TypeError|Aborted/i); // no decoder speaks for itself
    return error;
  }
}

export async function expectBad(bytes: Uint8Array, message: RegExp, limits: ImageLimits = {}): Promise<void> {
  const result = await attempt(bytes, limits);
  if (!(result instanceof EngineError))
    throw new Error(`decoded to ${result.width} x ${result.height} pixels, expected an error like ${message}`);
  expect(result.message).toMatch(message);
}

export const join = (...parts: (Uint8Array | number[])[]) => new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part))));

/** A PNG chunk with its CRC. */
export function chunk(name: string, data: Uint8Array | number[] = []): Uint8Array {
  const body = join(
    [...name].map((letter) => letter.charCodeAt(0)),
    data,
  );
  let crc = -1;
  for (const byte of body) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return join(uint32(body.length - 4), body, uint32(~crc));
}

export function ihdr(width: number, height: number, depth = 8, colorType = 2, interlace = 0): Uint8Array {
  return chunk("IHDR", [...uint32(width), ...uint32(height), depth, colorType, 0, 0, interlace]);
}

export const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
export const png = (...chunks: Uint8Array[]) => join(SIGNATURE, ...chunks);
export const idat = (raw: Uint8Array) => chunk("IDAT", deflateSync(raw));

/** [height, 1 + width * 3]: rows of filter type 0 with a gradient. */
export function rawRows(width: number, height: number): Uint8Array {
  const rows = new Uint8Array(height * (1 + width * 3));
  for (let i = 0; i < rows.length; i++) rows[i] = i % (1 + width * 3) === 0 ? 0 : i * 5;
  return rows;
}

const uint32 = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
