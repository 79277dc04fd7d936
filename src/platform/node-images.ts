import { Worker } from "node:worker_threads";
import { EngineError } from "../errors.ts";
import { BUILT } from "./node-threads.ts";
import type { NativeJob, Pixels } from "./platform.ts";

/** A package that users install themselves. @throws EngineError bad-image, naming it and the format, where it is not there */
async function installed<T>(name: string, format: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const absent = (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    const why = absent ? "is not installed" : `does not load: ${reasonOf(cause as Error)}`;
    throw new EngineError("bad-image", `the picture is in the format ${format}, which the package ${name} decodes, and that ${why}`, {
      hint: `npm install ${name}, or convert the picture to PNG or JPEG`,
      cause,
    });
  }
}

/** What a decoder says: its first lines, each once. */
function reasonOf({ message }: Error): string {
  const lines = new Set(message.split("\n").map((line) => line.trim()));
  return [...lines].filter(Boolean).slice(0, 2).join("; ").slice(0, 300);
}

/** Pillow's CMYK to RGB, in its integers. inks: [pixels, 4] → [pixels, 3] */
function rgbOfInks(inks: Uint8Array): Uint8Array {
  const data = new Uint8Array((inks.length / 4) * 3);
  for (let from = 0, to = 0; from < inks.length; from += 4) {
    const white = 255 - inks[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const t = inks[from + c]! * white + 128;
      data[to++] = Math.max(0, white - (((t >> 8) + t) >> 8));
    }
  }
  return data;
}

/**
 * WebP, GIF, TIFF, AVIF and JPEG by sharp (libvips), off this thread. As Pillow has it, profiles are ignored, TIFF's orientation is applied and
 * no other's, 16 bits of grey saturate, and inks are mixed without a profile.
 */
async function withSharp({ bytes, format, check, tolerant }: NativeJob): Promise<Pixels> {
  const { default: sharp } = await installed("sharp", format, () => import("sharp"));
  const options = {
    ignoreIcc: true,
    limitInputPixels: false,
    failOn: tolerant ? "none" : "warning",
    autoOrient: format === "TIFF",
  } as const;
  const { width, height, space } = await sharp(bytes, options).metadata(); // of the header alone
  check(width, height);
  const image = sharp(bytes, options);
  if (space === "grey16") {
    const { data, info } = await image
      .pipelineColourspace("grey16")
      .toColourspace("grey16")
      .extractChannel(0)
      .raw({ depth: "ushort" })
      .toBuffer({ resolveWithObject: true });
    const wide = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
    return { data: Uint8Array.from(wide, (value) => Math.min(value, 255)), width: info.width, height: info.height };
  }
  if (space === "cmyk") {
    const { data, info } = await image.pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer({ resolveWithObject: true });
    return { data: rgbOfInks(data), width: info.width, height: info.height };
  }
  const shown = (format === "GIF" ? image.ensureAlpha() : image.removeAlpha()).toColourspace("srgb");
  const { data, info } = await shown.raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

/** What the thread of libheif says: first the size, then with the pixels. */
export type HeifAnswer = { absent: string } | { error: string } | { width: number; height: number; data?: Uint8Array };

/** HEIC by libheif in WebAssembly, in a thread that ends with the picture: so its memory goes too. */
async function withLibheif({ bytes, format, check }: NativeJob): Promise<Pixels> {
  // The process's own arguments may not be for files.
  const worker = new Worker(new URL(`${BUILT}platform/node-heif.js`, import.meta.url), { workerData: bytes, execArgv: [] });
  const next = async () => {
    const answer = await new Promise<HeifAnswer>((resolve, reject) => {
      worker.removeAllListeners().once("message", resolve).once("error", reject);
      worker.once("exit", (code) => reject(new Error(`its thread ended with code ${code}`)));
    });
    if ("absent" in answer) {
      const missing = Object.assign(new Error(answer.absent), { code: answer.absent });
      return installed("libheif-js", format, () => Promise.reject(missing));
    }
    if ("error" in answer) throw new Error(answer.error);
    return answer;
  };
  try {
    const { width, height } = await next();
    check(width, height);
    worker.postMessage("decode");
    return { data: (await next()).data!, width, height };
  } finally {
    worker.removeAllListeners().on("error", () => {});
    void worker.terminate();
  }
}

/** Decodes what this library does not decode itself, with packages that are there if the user has installed them. @throws EngineError bad-image */
export async function decodeNative(job: NativeJob): Promise<Pixels> {
  try {
    return await (job.format === "HEIC" ? withLibheif(job) : withSharp(job));
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    const reason = reasonOf(cause as Error);
    const unknown = /not (configured|supported)|unsupported|bad \w+ format/i.test(reason); // sharp is built without ZSTD in TIFF, say
    const hint = unknown ? "Convert it to PNG or JPEG." : "The file is damaged or incomplete: fetch or export it again.";
    throw new EngineError("bad-image", `the ${job.format} file cannot be decoded: ${reason}`, { hint, cause });
  }
}
