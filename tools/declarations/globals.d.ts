// The types of the platform that the package's declarations speak of. Where the consumer's own setting has one (lib "DOM", @types/node,
// @webgpu/types) it is that one, else a stand-in with what this library asks of it: so the declarations are right in each of these settings
// and add nothing to the consumer's global names. The build puts this file beside them; see detach.mjs.

/** The platform's class of a name, or the stand-in. */
type Platform<Name extends string, StandIn> = typeof globalThis extends Record<Name, { prototype: infer Instance }> ? Instance : StandIn;

interface Events {
  addEventListener(type: string, listener: (event: never) => void, options?: { once?: boolean }): void;
  removeEventListener(type: string, listener: (event: never) => void): void;
}

interface Sized {
  readonly width: number;
  readonly height: number;
}

interface AbortSignalLike extends Events {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
}

export type AbortSignal = Platform<"AbortSignal", AbortSignalLike>;
export type AbortController = Platform<"AbortController", { readonly signal: AbortSignal; abort(reason?: unknown): void }>;
export type URL = Platform<"URL", { readonly href: string; readonly protocol: string; readonly pathname: string }>;
export type MessageEvent = Platform<"MessageEvent", { readonly data: unknown }>;
export type Worker = Platform<"Worker", Events & { postMessage(message: unknown, transfer: object[]): void; terminate(): void }>;
export type Transferable = object;

export type Headers = Platform<"Headers", { get(name: string): string | null }>;
export type Response = Platform<
  "Response",
  { readonly ok: boolean; readonly status: number; readonly headers: Headers; arrayBuffer(): Promise<ArrayBuffer> }
>;
export type Request = Platform<
  "Request",
  { readonly method: string; readonly url: string; readonly headers: Headers; readonly signal: AbortSignal }
>;
export declare const fetch: typeof globalThis extends { fetch: infer Fetch } ? Fetch : (url: string, init?: object) => Promise<Response>;

export type Blob = Platform<
  "Blob",
  { readonly size: number; readonly type: string; slice(start?: number, end?: number): Blob; arrayBuffer(): Promise<ArrayBuffer> }
>;
export type File = Platform<"File", Blob & { readonly name: string; readonly lastModified: number }>;
export type FileSystemDirectoryHandle = Platform<
  "FileSystemDirectoryHandle",
  { readonly kind: "directory"; readonly name: string; getFileHandle(name: string): Promise<{ getFile(): Promise<File> }> }
>;

export type ImageBitmap = Platform<"ImageBitmap", Sized & { close(): void }>;
export type ImageData = Platform<"ImageData", Sized & { readonly data: Uint8ClampedArray }>;
export type HTMLImageElement = Platform<
  "HTMLImageElement",
  Sized & { readonly naturalWidth: number; readonly naturalHeight: number; readonly currentSrc: string; decode(): Promise<void> }
>;
export type HTMLCanvasElement = Platform<"HTMLCanvasElement", Sized & { getContext(kind: string): unknown }>;
export type OffscreenCanvas = Platform<"OffscreenCanvas", Sized & { getContext(kind: string): unknown }>;
export type HTMLVideoElement = Platform<
  "HTMLVideoElement",
  Sized & { readonly videoWidth: number; readonly videoHeight: number; readonly readyState: number }
>;
export type VideoFrame = Platform<"VideoFrame", { readonly displayWidth: number; readonly displayHeight: number; close(): void }>;

interface Labelled {
  label: string;
}

interface Destroyable extends Labelled {
  destroy(): void;
}

export type GPUPowerPreference = "low-power" | "high-performance";
/** A real GPUDevice has all of these; to program with one, add "@webgpu/types" to your compiler's `types`. */
interface GPUDeviceLike extends Destroyable {
  readonly queue: object;
  readonly features: object;
  readonly limits: object;
  readonly lost: Promise<unknown>;
  createBuffer(descriptor: never): unknown;
}

export type GPUDevice = Platform<"GPUDevice", GPUDeviceLike>;
export type GPUBuffer = Platform<"GPUBuffer", Destroyable & { readonly size: number; readonly usage: number }>;
export type GPUTexture = Platform<"GPUTexture", Destroyable & Sized & { createView(): unknown }>;
export type GPUComputePipeline = Platform<"GPUComputePipeline", Labelled & { getBindGroupLayout(index: number): unknown }>;
export type GPUBindGroupLayout = Platform<"GPUBindGroupLayout", Labelled>;
export type GPUBindGroup = Platform<"GPUBindGroup", Labelled>;
export type GPUCommandEncoder = Platform<"GPUCommandEncoder", Labelled & { finish(): unknown }>;
export type GPUAdapterInfo = Platform<
  "GPUAdapterInfo",
  { readonly vendor: string; readonly architecture: string; readonly description: string }
>;
/** A buffer, the part of one, or a texture's view: what a binding can be. */
export type GPUBindingResource = object;
export interface GPUBufferBinding {
  buffer: GPUBuffer;
  offset?: number;
  size?: number;
}
