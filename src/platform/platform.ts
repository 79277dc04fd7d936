import type { ByteSource } from "../safetensors/types.ts";
import type { FileStore, Sha256 } from "./store.ts";
import type { Thread } from "./thread.ts";

/** How an adapter is asked for. */
export interface AdapterRequest {
  /** Part of the adapter's name (`swiftshader`, `llvmpipe`, `nvidia`), in any case. Default: the best adapter. */
  adapter?: string | undefined;
  powerPreference?: GPUPowerPreference | undefined;
  /** False: shaders run without the bounds checks that Dawn adds (Node only; a browser keeps them). To test that they need none. */
  robustness?: boolean | undefined;
}

/** An adapter with the name it is known by on this platform. */
export interface NamedAdapter {
  adapter: GPUAdapter;
  name: string;
  /** Whether its devices zero storage before its first use, as WebGPU promises. */
  zeroes: boolean;
}

/** Pixels row by row from the top, 8 bits a channel; colours are not multiplied by alpha. */
export interface RgbaPixels {
  data: Uint8ClampedArray; // [height, width, 4]
  width: number;
  height: number;
}

/** Pixels as a decoder gives them: 8 bits a channel, and as many channels as the length says. */
export interface Pixels {
  data: Uint8Array | Uint8ClampedArray; // [height, width, channels]
  width: number;
  height: number;
}

/** What a decoder that is not ours is asked. */
export interface NativeJob {
  bytes: Uint8Array;
  /** How the file's format is called: `WebP`. */
  format: string;
  check: SizeCheck;
  /** Whether a file that breaks off is taken. */
  tolerant: boolean;
}

/** A video that was opened. */
export interface OpenVideo {
  /** How many frames it has. */
  frames: number;
  /** Frames a second, on average. */
  fps: number;
  /** Shows frames, in the order of their indices, each once. @throws EngineError bad-image, aborted */
  read(indices: readonly number[]): AsyncIterable<Pixels>;
  close(): Promise<void>;
}

/** A video that is to be opened. */
export interface VideoJob {
  /** A path (Node), a file, or its bytes. */
  video: string | Blob | Uint8Array;
  check: SizeCheck;
  /** Whether a file that breaks off is taken as far as it goes. */
  tolerant: boolean;
  signal: AbortSignal | undefined;
}

/** Throws where a picture is too large. */
export type SizeCheck = (width: number, height: number) => void;

/** An image that can be sent to a worker, with what moves along instead of being copied. */
export interface PortableImage {
  image: unknown;
  transfer: Transferable[];
}

/** What fetching a server's picture may take at most. */
export interface MediaLimits {
  maxBytes: number;
  /** For all of it: name, connection, answer. */
  seconds: number;
}

/** Opens pictures for strangers. */
export interface Media {
  /** The bytes of a picture on another host, at an address that is not of this network. @throws EngineError network, limit-exceeded */
  fetchPublic(url: URL, limits: MediaLimits): Promise<Uint8Array>;
  /** The bytes of a file below a folder, wherever links lead. @throws EngineError bad-input, limit-exceeded */
  readBelow(folder: string, path: string, maxBytes: number): Promise<Uint8Array>;
}

/** What differs between Node and a browser. `node.ts` and `web.ts` implement it, package.json's `#platform` chooses. */
export interface Platform {
  requestAdapter(request: AdapterRequest): Promise<NamedAdapter>;
  /** Destroys a device with the process, where it lives until then: drivers on the CPU crash when they are unloaded at work. */
  untilExit(device: GPUDevice): void;
  /** Names of all adapters that can be asked for, best first. */
  listAdapters(): Promise<string[]>;
  /** Makes a call into WebGPU that starts something to be awaited, so that waiting for it leaves the CPU to an adapter that computes there. */
  paced<T>(start: () => T): T;
  /** Opens a file below a folder; `undefined` where there is no such file. @throws EngineError bad-weights where it is not a file, or unreadable */
  openFile(folder: string, name: string): Promise<ByteSource | undefined>;
  /** What lies at a path. @throws EngineError bad-input where that cannot be told */
  pathKind(path: string): Promise<"folder" | "file" | "nothing">;
  /** Bytes of memory that a program can still take: what software adapters work in. `undefined` where nobody tells. */
  availableMemory(): number | undefined;
  /** Whether this runs on a phone or a tablet. */
  readonly mobile: boolean;
  /** The path that a `file:` URL names. @throws EngineError bad-input where it names none */
  pathOfUrl(url: string): string;
  /** A path with the user's folder in place of `~`. */
  expandHome(path: string): string;
  /** A variable of the environment; `undefined` where it is not set, or empty, or where there is no environment. */
  env(name: string): string | undefined;
  /** Whether there are local folders and an environment: a page has neither. */
  readonly hasSystem: boolean;
  /** Whether requests may carry any header and answers show all of theirs: not so in a browser, between origins. */
  readonly seesEverything: boolean;
  /** The user's Hugging Face token as it stands, where one is set up, and what it was read from. */
  hubToken(): Promise<{ value: string; from: string } | undefined>;
  /**
   * Where downloads are kept: the folder, or by default `hub` (Hugging Face's own cache) or `urls` (what comes from elsewhere). `out`: the
   * folder that a caller wants files in.
   */
  openStore(kind: "hub" | "urls" | "out", folder?: string): Promise<FileStore>;
  sha256?(): Sha256;
  /** The bytes of a local file. @throws EngineError bad-input, limit-exceeded where it has more than `maxBytes` (1 GiB by default) */
  readFile(path: string, maxBytes?: number): Promise<Uint8Array>;
  /** The RGBA pixels of an image object that only a browser has (ImageBitmap, canvas, img, video, VideoFrame), once `check` has let its size pass. */
  pixelsOf(image: object, check: SizeCheck): Promise<RgbaPixels | undefined>;
  /** The file behind an img element, where there is one to be had. */
  fileOf(image: object): Promise<Blob | undefined>;
  /** The browser's image decoder; in Node those of packages that users install. @throws EngineError bad-image */
  decodeNative(job: NativeJob): Promise<Pixels>;
  /** Opens a video: in a page with the package mediabunny and WebCodecs, in Node with the program ffmpeg. @throws EngineError bad-image */
  openVideo(job: VideoJob): Promise<OpenVideo>;
  /** Starts the thread that decodes large pictures (media/decode-thread.ts). @throws where there are no threads */
  startDecoder(): Promise<Thread>;
  /** Starts the thread that holds answers to grammars (text/grammar/thread.ts); a page has that beside its model, which may be in a worker. */
  startGrammars?(): Promise<Thread>;
  /** Starts the worker that `InternVLWorker` speaks to (worker-thread.ts), in what has the class Worker. */
  startModel(): Promise<Worker>;
  /** The WebAssembly module of its JPEG decoder; `undefined` where the thread fetches it itself. */
  jpegDecoder(): Promise<Uint8Array | undefined>;
  /** What a server opens pictures with that a request only names. */
  media(): Promise<Media>;
  /** An image as a worker can take it. */
  portable(image: object): Promise<PortableImage>;
}
