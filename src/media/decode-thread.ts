import { EngineError } from "../errors.ts";
import { badImage, DAMAGED, type ImageLimits, type RgbImage } from "./image.ts";
import { decodeWithJs } from "./jpeg.ts";
import { readJpeg } from "./jpeg-structure.ts";
import { decodePng } from "./png.ts";
import { huffmanCoded } from "./transcode.ts";
import { decodeWithTurbo } from "./turbo.ts";

// The script of the thread that decodes large pictures: a worker in a page, and in Node (see platform/node-thread.ts) what looks like one.

/** What the thread is asked. */
export interface DecodeJob {
  format: "png" | "jpeg";
  bytes: Uint8Array;
  limits: ImageLimits;
  /** libjpeg-turbo's WebAssembly module, where the script cannot fetch it. */
  wasm: Uint8Array | undefined;
}

/** What it answers; first of all that it is there. */
export type DecodeAnswer = { ready: true } | { image: RgbImage } | { error: { message: string; hint: string | undefined } };

interface Scope {
  addEventListener(type: "message", listener: (event: { data: DecodeJob }) => void): void;
  postMessage(answer: DecodeAnswer, transfer: ArrayBufferLike[]): void;
}

const scope = globalThis as unknown as Scope;

async function decode({ format, bytes, limits, wasm }: DecodeJob): Promise<RgbImage> {
  if (format === "png") return decodePng(bytes, limits);
  const parts = huffmanCoded(readJpeg(bytes, limits));
  // libjpeg gives CMYK out as CMYK only.
  if (parts.frame.components.length < 4) return decodeWithTurbo(parts, wasm, limits.allowTruncated ?? false);
  if (!parts.orderly) throw badImage("the JPEG has four components, and its data are damaged or cut off", DAMAGED);
  return decodeWithJs(parts);
}

scope.addEventListener("message", ({ data: job }) => {
  decode(job).then(
    (image) => scope.postMessage({ image }, [image.data.buffer]),
    (cause) => {
      const { message, hint } =
        cause instanceof EngineError
          ? cause
          : badImage(
              cause instanceof RangeError ? "there is not enough memory for the picture" : `the picture cannot be decoded: ${cause}`,
              DAMAGED,
            );
      scope.postMessage({ error: { message, hint } }, []);
    },
  );
});
scope.postMessage({ ready: true }, []);
