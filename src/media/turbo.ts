import createModule from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import { badImage, cutOff, DAMAGED, type RgbImage } from "./image.ts";
import { plainJpeg } from "./jpeg.ts";
import type { JpegParts } from "./jpeg-structure.ts";

/** What we use of the module that Emscripten makes. */
interface Decoder {
  /** → an ImageData. Ends as a program does, by throwing, where libjpeg gives up. */
  decode(file: Uint8Array, orient: boolean): unknown;
}

/** What libjpeg says, as its first complaint, of data that end before their pixels do: the end marker stands where more is needed. */
const ENDED = /premature end of data segment|found marker 0xd9 instead of/i;

/**
 * Decodes a Huffman-coded JPEG of one or three components with libjpeg-turbo in WebAssembly (in mozjpeg's shape): Pillow's own pixels, also where data
 * are damaged, since both find their way back the same way.
 *
 * Each picture has a WebAssembly instance of its own: its memory goes with it, and a damaged file cannot disturb the next.
 *
 * @param wasm the module's bytes; absent in a page, where they are fetched from beside the script
 * @throws EngineError bad-image
 */
export async function decodeWithTurbo(parts: JpegParts, wasm: Uint8Array | undefined, allowTruncated: boolean): Promise<RgbImage> {
  const { width, height } = parts.frame;
  const said: string[] = [];
  const options = {
    printErr: (line: string) => said.push(line),
    print: () => {},
    ...(wasm ? { wasmBinary: wasm, locateFile: String } : {}),
  };
  const decoder = (await (createModule as (options: object) => Promise<Decoder>)(options)) as Decoder;
  let data: Uint8Array | undefined;
  try {
    data = withoutAlpha(() => decoder.decode(plainJpeg(parts), false));
  } catch (cause) {
    const reason = `${said.join(" ")} ${cause}`;
    if (/memory|alloc|out of bounds/i.test(reason)) {
      throw badImage(
        `the JPEG of ${width} x ${height} pixels needs more memory than its decoder can have (2 GiB)`,
        "Scale the picture down.",
        cause,
      );
    }
    throw badImage("the JPEG is damaged so that its pixels cannot be decoded", DAMAGED, new Error(reason));
  }
  if (parts.open && !allowTruncated && ENDED.test(said[0] ?? "")) throw cutOff("the JPEG ends before its last pixels");
  if (data?.length !== width * height * 3) throw badImage(`the JPEG did not decode to ${width} x ${height} pixels`, DAMAGED);
  return { width, height, data };
}

/**
 * Calls the decoder, which would copy its RGBA pixels into a Uint8ClampedArray for an ImageData, with other classes in their place: ours
 * takes the three colours straight from the decoder's memory, so that a large picture is held once less.
 */
function withoutAlpha(decode: () => unknown): Uint8Array | undefined {
  const scope = globalThis as unknown as Record<string, unknown>;
  const { Uint8ClampedArray: array, ImageData: image } = scope;
  let data: Uint8Array | undefined;
  scope.Uint8ClampedArray = function Rgb(rgba: Uint8Array) {
    data = new Uint8Array((rgba.length / 4) * 3);
    for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
      data[to] = rgba[from]!;
      data[to + 1] = rgba[from + 1]!;
      data[to + 2] = rgba[from + 2]!;
    }
    return data;
  };
  scope.ImageData = class {};
  try {
    decode();
    return data;
  } finally {
    scope.Uint8ClampedArray = array;
    scope.ImageData = image;
  }
}
