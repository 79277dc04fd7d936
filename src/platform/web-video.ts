import type { VideoSample } from "mediabunny";
import { EngineError, throwIfAborted } from "../errors.ts";
import type { OpenVideo, Pixels, VideoJob } from "./platform.ts";
import { CUT, damaged, noFrames, noVideo } from "./video-errors.ts";
import { rgbOfPlanes } from "./yuv.ts";

/** mediabunny, which a page's project installs. */
async function mediabunny(): Promise<typeof import("mediabunny")> {
  try {
    return await import("mediabunny");
  } catch (cause) {
    throw damaged(
      "videos are read with the package mediabunny, which is not installed",
      "npm install mediabunny, or give the video's frames as pictures",
      cause,
    );
  }
}

/** Pixels turned clockwise by 90, 180 or 270 degrees: a phone's videos lie on their side. */
function turned({ data, width, height }: Pixels, degrees: number): Pixels {
  if (degrees === 0) return { data, width, height };
  const channels = data.length / (width * height);
  const to = new Uint8Array(data.length);
  const across = degrees === 180 ? width : height;
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0; x < width; x++, from += channels) {
      const [column, row] = degrees === 90 ? [height - 1 - y, x] : degrees === 180 ? [width - 1 - x, height - 1 - y] : [y, width - 1 - x];
      for (let c = 0; c < channels; c++) to[(row * across + column) * channels + c] = data[from + c]!;
    }
  }
  return { data: to, width: across, height: degrees === 180 ? height : width };
}

/** A frame's pixels: by our own arithmetic where its planes can be had, else by the browser's. */
async function pixelsOf(sample: VideoSample, matrix: string | null | undefined): Promise<Pixels> {
  const { format, visibleRect, colorSpace, rotation } = sample;
  const { width, height } = visibleRect;
  if (format === "I420" || format === "NV12") {
    const data = new Uint8Array(sample.allocationSize());
    const layout = await sample.copyTo(data);
    const rgb = rgbOfPlanes({ format, data, layout, width, height }, matrix, colorSpace.fullRange ?? false);
    return turned({ data: rgb, width, height }, rotation);
  }
  const data = new Uint8Array(sample.allocationSize({ format: "RGBA" }));
  await sample.copyTo(data, { format: "RGBA" });
  return turned({ data, width, height }, rotation);
}

/** Opens a video with mediabunny and WebCodecs. @throws EngineError bad-image, aborted */
export async function openVideo({ video, check, tolerant, signal }: VideoJob): Promise<OpenVideo> {
  const { BlobSource, BufferSource, EncodedPacketSink, Input, MATROSKA, MP4, QTFF, VideoSampleSink, WEBM } = await mediabunny();
  const source = video instanceof Uint8Array ? new BufferSource(video) : new BlobSource(video as Blob);
  const input = new Input({ formats: [MP4, QTFF, WEBM, MATROSKA], source });
  const close = async () => input.dispose();
  try {
    const track = await input.getPrimaryVideoTrack();
    if (!track) throw noVideo();
    check(await track.getCodedWidth(), await track.getCodedHeight());
    if (!(await track.canDecode()))
      throw damaged(
        `this browser does not decode the video's codec, ${(await track.getCodec()) ?? "unknown"}`,
        "Convert it to WebM (VP9) or MP4 (H.264).",
      );
    const times: number[] = [];
    let end = 0;
    for await (const { timestamp, duration } of new EncodedPacketSink(track).packets(undefined, undefined, { metadataOnly: true })) {
      throwIfAborted(signal);
      if (timestamp < 0) continue; // an edit list takes it away
      times.push(timestamp);
      end = Math.max(end, timestamp + duration);
    }
    if (times.length === 0) throw noFrames();
    times.sort((a, b) => a - b);
    const declared = (await track.getDurationFromMetadata()) ?? 0;
    if (end + 1 < declared && !tolerant)
      throw damaged(`the video is cut off: it declares ${declared.toFixed(1)} s and ends after ${end.toFixed(1)}`, CUT);
    const { matrix } = await track.getColorSpace();
    const read = async function* (indices: readonly number[]): AsyncGenerator<Pixels> {
      const sink = new VideoSampleSink(track);
      for await (const sample of sink.samplesAtTimestamps(indices.map((index) => times[index]!))) {
        if (!sample) throw damaged("the video is damaged: a frame is missing", "Fetch or export it again.");
        try {
          throwIfAborted(signal);
          yield await pixelsOf(sample, matrix);
        } finally {
          sample.close();
        }
      }
    };
    return { frames: times.length, fps: times.length / (end - times[0]! || 1), read, close };
  } catch (cause) {
    await close();
    if (cause instanceof EngineError) throw cause;
    throw damaged(`the video cannot be read: ${(cause as Error).message}`, "Fetch or export it again, as MP4 or WebM.", cause);
  }
}
