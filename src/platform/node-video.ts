import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { EngineError, throwIfAborted } from "../errors.ts";
import type { OpenVideo, Pixels, VideoJob } from "./platform.ts";
import { CUT, damaged, noFrames, noVideo } from "./video-errors.ts";

/** The demuxer for a file, by its first bytes: a playlist, which names other files, is none. @throws EngineError bad-image */
async function demuxerOf(path: string): Promise<string> {
  const head = Buffer.alloc(12);
  const handle = await open(path).catch((cause: NodeJS.ErrnoException) => {
    throw new EngineError("bad-input", `cannot read the video ${JSON.stringify(path)}: ${cause.code}`, { hint: "check the path", cause });
  });
  try {
    await handle.read(head, 0, 12, 0);
  } catch (cause) {
    throw new EngineError("bad-input", `cannot read the video ${JSON.stringify(path)}: it is a folder`, { hint: "give a file", cause });
  } finally {
    await handle.close();
  }
  const text = head.toString("latin1");
  if (/^(\x89PNG|\xff\xd8\xff|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|....ftyp(avi[fs]|hei|mif1))/s.test(text))
    throw damaged("the video is a picture", "Give it as an image.");
  if (/^(ftyp|moov|mdat|wide|free|skip)/.test(text.slice(4))) return "mov";
  if (text.startsWith("\x1a\x45\xdf\xa3")) return "matroska";
  if (/^RIFF....AVI /s.test(text)) return "avi";
  throw damaged("the video is not an MP4, MOV, WebM, Matroska or AVI file");
}

/** Starts one of ffmpeg's programs. What it says of errors is kept. */
function start(program: "ffmpeg" | "ffprobe", args: readonly string[], signal: AbortSignal | undefined) {
  const child = spawn(program, ["-v", "error", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
    ...(signal && { signal }),
  });
  let said = "";
  child.stderr.on("data", (piece: Buffer) => {
    if (said.length < 10_000) said += piece.toString();
  });
  const ended = once(child, "close").then(
    ([code]) => ({
      code: code as number,
      said: said
        .trim()
        .split("\n")[0]!
        .replace(/^\[.*?\] /, "")
        .slice(0, 200),
    }),
    (cause: NodeJS.ErrnoException) => {
      throwIfAborted(signal);
      throw damaged(
        cause.code === "ENOENT"
          ? `videos are read with the program ${program}, which is not on the path`
          : `${program} does not start: ${cause.message}`,
        "Install FFmpeg (apt install ffmpeg, brew install ffmpeg, winget install ffmpeg), or give the video's frames as pictures.",
        cause,
      );
    },
  );
  ended.catch(() => {}); // told to whoever awaits it
  return { child, ended };
}

/** The pictures in a stream of PPM files: `P6`, width, height and 255 as words, then [height, width, 3]. */
async function* picturesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Pixels> {
  let pieces: Buffer[] = [];
  let [length, needed] = [0, 1];
  for await (const piece of stream) {
    pieces.push(piece);
    length += piece.length;
    while (length >= needed) {
      const have = Buffer.concat(pieces);
      const [head, width, height] = /^P6\s(\d+)\s(\d+)\s255\s/.exec(have.toString("latin1", 0, 40)) ?? [];
      const size = head ? head.length + Number(width) * Number(height) * 3 : length + 1;
      needed = length < size ? size : 1;
      pieces = [length < size ? have : have.subarray(size)];
      if (length < size) break;
      length -= size;
      yield { data: new Uint8Array(have.subarray(head!.length, size)), width: Number(width), height: Number(height) };
    }
  }
}

/**
 * Opens a video with FFmpeg, which decodes upstream's videos too (decord): frames have the same numbers and pixels there. Of a file that
 * came as bytes a copy lies in the system's folder for such until it is closed.
 *
 * @throws EngineError bad-image, bad-input, aborted
 */
export async function openVideo({ video, check, tolerant, signal }: VideoJob): Promise<OpenVideo> {
  const folder = typeof video === "string" ? undefined : await mkdtemp(join(tmpdir(), "internvl-video-"));
  const close = async () => {
    if (folder) await rm(folder, { recursive: true, force: true });
  };
  try {
    const path = folder ? join(folder, "video") : resolve(video as string);
    if (folder) await writeFile(path, video instanceof Uint8Array ? video : new Uint8Array(await (video as Blob).arrayBuffer()));
    const input = ["-protocol_whitelist", "file", "-f", await demuxerOf(path), "-i", `file:${path}`];
    const { frames, fps } = await probe(input, { check, tolerant, signal });
    return { frames, fps, read: (indices) => read(input, indices, tolerant, signal), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What ffprobe says about a video: its frames are its packets, but for those that an edit list takes away. */
async function probe(
  input: readonly string[],
  { check, tolerant, signal }: Omit<VideoJob, "video">,
): Promise<{ frames: number; fps: number }> {
  const entries = "stream=codec_name,width,height,avg_frame_rate,nb_frames:packet=flags";
  const { child, ended } = start("ffprobe", ["-select_streams", "V:0", "-show_entries", entries, "-of", "compact=nk=0", ...input], signal);
  let text = "";
  for await (const piece of child.stdout) text += piece;
  const { code, said } = await ended;
  const stream = /^stream\|(.*)$/m.exec(text)?.[1];
  if (code !== 0 && !stream) throw damaged(`the video cannot be read: ${said || `ffprobe ended with ${code}`}`);
  if (!stream) throw noVideo();
  const {
    width,
    height,
    avg_frame_rate: rate = "",
    nb_frames: declared,
  } = Object.fromEntries(stream.split("|").map((pair) => pair.split("=")));
  check(Number(width), Number(height));
  const packets = text.match(/^packet\|flags=.*$/gm) ?? [];
  const frames = packets.filter((line) => !line.slice("packet|flags=".length).includes("D")).length;
  if (frames === 0) throw noFrames();
  const short = Number(declared) > packets.length ? `it declares ${declared} frames and holds ${packets.length}` : said;
  if (short && !tolerant) throw damaged(`the video is cut off or damaged: ${short}`, CUT);
  const [over, under] = rate.split("/").map(Number);
  return { frames, fps: over / under || frames };
}

async function* read(
  input: readonly string[],
  indices: readonly number[],
  tolerant: boolean,
  signal: AbortSignal | undefined,
): AsyncGenerator<Pixels> {
  // Frames that were chosen get times one after the other, so that none is left out or shown twice.
  const select = `select=${indices.map((index) => `eq(n\\,${index})`).join("+")},setpts=N/(25*TB)`;
  const strict = tolerant ? [] : ["-xerror", "-err_detect", "explode"];
  const output = [
    "-map",
    "0:V:0",
    "-vf",
    select,
    "-r",
    "25",
    "-frames:v",
    String(indices.length),
    "-pix_fmt",
    "rgb24",
    "-c:v",
    "ppm",
    "-f",
    "image2pipe",
    "-",
  ];
  const { child, ended } = start("ffmpeg", ["-nostdin", ...strict, ...input, ...output], signal);
  let shown = 0;
  try {
    for await (const picture of picturesOf(child.stdout)) {
      shown++;
      yield picture;
    }
    const { code, said } = await ended;
    if (code !== 0 || shown < indices.length)
      throw damaged(`the video is damaged: ${said || `it gives ${shown} of ${indices.length} frames`}`, CUT);
  } finally {
    child.kill();
  }
}
