import type { Dirent } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { glob, isDynamicPattern } from "tinyglobby";
import { platform } from "#platform";
import { openClip } from "../../src/api/clip.ts";
import { toRgb } from "../../src/api/images.ts";
import { EngineError } from "../../src/errors.ts";
import type { VideoFile } from "../../src/index.ts";
import { isPicture, NATIVE, sniff } from "../../src/media/sniff.ts";
import { sampleFrameIndices } from "../../src/media/video.ts";
import { quoted } from "../../src/options.ts";
import { onFile, UsageError } from "./failures.ts";
import { interrupted } from "./interrupt.ts";
import type { ReadingFlags } from "./model.ts";

const MOST_BYTES = 2 ** 29; // of a pipe, which does not say how much is to come
const HEAD = 4096;
/** Files up to this size are decoded before the model is loaded: that takes no time beside a load, and finds what is damaged. */
const CHEAP_BYTES = 2_000_000;

const VIDEO = "give it as --video";

async function readUpTo(stream: Readable, most: number): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    pieces.push(piece);
    length += piece.length;
    if (length >= most) break;
  }
  return new Uint8Array(Buffer.concat(pieces)).subarray(0, most);
}

/** What a picture's bytes show before a model is loaded. @throws EngineError bad-image */
async function checkBytes(bytes: Uint8Array, name: string, whole: boolean, { allowTruncated, maxPixels, maxSide }: ReadingFlags) {
  const format = sniff(bytes);
  if (["mp4", "webm", "avi"].includes(format)) throw new EngineError("bad-image", `${name} is a video, not a picture`, { hint: VIDEO });
  const decode = () => toRgb(bytes, { name, allowTruncated, maxPixels, maxSide });
  if (!isPicture(format) || (whole && bytes.length <= CHEAP_BYTES))
    await decode(); // what is not a picture is refused by its first bytes
  else if (format in NATIVE) await decode().catch(demandPackage);
}

/** Of a file's beginning only one thing can be told: that the package which decodes it is not there. */
function demandPackage(error: unknown): void {
  const { cause } = error as EngineError;
  if ((cause as NodeJS.ErrnoException | undefined)?.code === "ERR_MODULE_NOT_FOUND") throw error;
}

const natural = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true });

/**
 * The pictures that `--image` names: paths and addresses as they are, a pattern (`"dir/*.jpg"`) as its files in the order of their names, `-` as what is
 * piped in. Each is looked at before a model is loaded.
 *
 * @throws EngineError bad-input, bad-image
 */
export async function namedPictures(given: readonly string[], flags: ReadingFlags): Promise<(string | Uint8Array)[]> {
  const found: (string | Uint8Array)[] = [];
  for (const each of given) for (const path of await matching(each)) found.push(await checkPicture(path, flags));
  return found;
}

async function matching(given: string): Promise<string[]> {
  if (/^(https?|data|file):/i.test(given) || given.includes("\0") || !isDynamicPattern(given)) return [given];
  if (await stat(given).catch(() => undefined)) return [given]; // a file of that very name
  const files = await glob(given, { expandDirectories: false });
  if (files.length > 0) return files.sort(natural);
  throw new EngineError("bad-input", `${quoted(given)} matches no file`, {
    hint: "check the pattern: * and ? do not go into folders, ** does",
  });
}

/**
 * Looks at a picture that was named on the command line. A file stays a path; what can be read only once (a pipe) comes back as bytes.
 *
 * @throws EngineError bad-input (no such file, a folder), bad-image
 */
export async function checkPicture(given: string, flags: ReadingFlags): Promise<string | Uint8Array> {
  const name = quoted(given);
  if (/^https?:/i.test(given)) return given;
  if (/^data:/i.test(given)) {
    const response = await fetch(given).catch((cause: Error) => {
      throw new EngineError("bad-input", `${name} is not a data URL that can be read`, { hint: "write data:image/png;base64,…", cause });
    });
    await checkBytes(new Uint8Array(await response.arrayBuffer()), name, true, flags);
    return given;
  }
  if (given === "-") {
    const bytes = await onFile("read", "stdin", readUpTo(process.stdin, MOST_BYTES));
    if (bytes.length === 0)
      throw new EngineError("bad-image", "nothing was piped in for --image -", { hint: "cat FILE | internvl chat --image - …" });
    await checkBytes(bytes, "stdin", true, flags);
    return bytes;
  }
  let path = given;
  try {
    if (/^file:/i.test(given)) path = fileURLToPath(given);
  } catch (cause) {
    throw new EngineError("bad-input", `${name} names no file here: ${(cause as Error).message}`, { hint: "write file:///path", cause });
  }
  if (path.includes("\0")) throw new EngineError("bad-input", `${name} is not a path: it holds a zero byte`, { hint: "check the path" });
  const found = await onFile("read", given, stat(path));
  if (found.isDirectory()) {
    throw new EngineError("bad-input", `cannot read ${name}: it is a folder, a picture is needed`, {
      hint: "give each picture with an --image of its own, or a folder of frames with --video",
    });
  }
  if (!found.isFile() || /^\/(dev|proc)\//.test(path)) {
    const bytes = await platform.readFile(path, MOST_BYTES);
    await checkBytes(bytes, name, true, flags);
    return bytes;
  }
  const handle = await onFile("read", given, open(path));
  try {
    const most = found.size <= CHEAP_BYTES ? CHEAP_BYTES : HEAD;
    await checkBytes(
      await onFile("read", given, readUpTo(handle.createReadStream({ autoClose: false }), most)),
      name,
      most !== HEAD,
      flags,
    );
    return path;
  } finally {
    await handle.close();
  }
}

/** Whether a file of a folder is a frame: macOS puts a `._NAME` beside every file on other disks. */
const isFrame = (entry: Dirent) => /\.(png|jpe?g|webp|bmp|gif|tiff?|avif|heic)$/i.test(entry.name) && !entry.name.startsWith(".");

interface VideoFlags extends ReadingFlags {
  frames?: number;
  bound?: [start: number, end: number];
}

/**
 * What `--video` names: a video file, whose head and number of frames are looked at, or a folder of frames, which are.
 * @throws EngineError bad-input, bad-image
 */
export async function namedVideo(given: string, { frames, bound, ...flags }: VideoFlags): Promise<VideoFile | string[]> {
  const video = { src: given, frames, bound };
  if (given === "-") throw new UsageError("--video - is not taken: a video is read more than once, so give its file");
  if (/^https?:/i.test(given)) return video;
  if (/^(data|file):/i.test(given) || !(await onFile("read", given, stat(given))).isDirectory()) {
    await (await openClip({ ...video, frames: frames ?? 1 }, flags, interrupted)).close();
    return video;
  }
  if (bound) throw new UsageError("--bound is of a video file, a folder of frames has no time");
  const chosen = await folderFrames(given, frames);
  for (const frame of new Set(chosen)) await checkPicture(frame, flags);
  return chosen;
}

/** The frames of a folder, in the order of their names; `count` of them, evenly spaced. Folders in it are not looked into. @throws EngineError bad-input */
async function folderFrames(folder: string, count: number | undefined): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await onFile("read", folder, readdir(folder, { withFileTypes: true }))) {
    const file = entry.isSymbolicLink() ? await stat(join(folder, entry.name)).catch(() => undefined) : entry;
    if (isFrame(entry) && file && !file.isDirectory()) names.push(entry.name);
  }
  names.sort(natural);
  if (names.length === 0)
    throw new EngineError("bad-input", `${quoted(folder)} holds no picture`, {
      hint: "extract the video's frames into it, or give the video itself",
    });
  const picked = count === undefined ? names : sampleFrameIndices(names.length, count).map((index) => names[index]!);
  return picked.map((each) => join(folder, each));
}
