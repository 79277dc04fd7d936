import { callback, count, flag, isRecord, oneOf, type Read, type Reader, reading, readOptions, signal, text, wrong } from "../options.ts";
import type { SourceLike } from "../weights/source.ts";
import type { LoadOptions } from "./load.ts";
import { isList } from "./pictures.ts";

const HOW = 'write device: { adapter: "llvmpipe" } for an adapter whose name has this text, or give a GPUDevice';

const DEVICE = { adapter: text, powerPreference: oneOf("low-power", "high-performance"), autotune: flag, robustness: flag };

/** A GPUDevice is told by shape: it may come from another copy of WebGPU's bindings. */
const isDevice = (value: unknown): value is GPUDevice =>
  typeof value === "object" && value !== null && "queue" in value && "createBuffer" in value;

const device: Reader<LoadOptions["device"]> = (value, name) => {
  if (isDevice(value)) return value;
  if (!isRecord(value)) throw wrong(name, value, "a GPUDevice, or { adapter, powerPreference }", HOW);
  return readOptions(name, value, DEVICE);
};

const LOAD = {
  device,
  weights: oneOf("auto", "bf16", "f16", "f32", "q8", "q4"),
  maxContext: count,
  kv: oneOf("auto", "f16", "f32"),
  endpoint: text,
  revision: text,
  token: text,
  cacheDir: text,
  fetch: callback<typeof fetch>(),
  signal,
  onProgress: callback<NonNullable<LoadOptions["onProgress"]>>(),
};

const SOURCES = 'give a folder\'s path, a URL, "org/name", File objects, a FileSystemDirectoryHandle, or an object with open(name)';

const has = (value: object, name: string, kind: string): boolean => typeof (value as Record<string, unknown>)[name] === kind;

/** Tells by shape whether a model can come from it; whether there is one is seen when it is opened. @throws EngineError bad-input */
export function acceptSource(value: unknown): SourceLike {
  return reading("the model's source", () => source(value));
}

function source(value: unknown): SourceLike {
  if (typeof value === "string" && value.trim() !== "") return value;
  const known =
    typeof value === "object" &&
    value !== null &&
    (has(value, "href", "string") ||
      has(value, "open", "function") ||
      has(value, "getFileHandle", "function") ||
      isList(value) ||
      Symbol.iterator in value);
  if (!known) throw wrong("the model's source", value, "a folder, an address or files", SOURCES);
  return value as SourceLike;
}

/** What `load` was given. @throws EngineError bad-input */
export function acceptLoad(from: unknown, options: unknown): { source: SourceLike } & Read<typeof LOAD> {
  return { source: acceptSource(from), ...readOptions("load", options, LOAD) };
}

/** What a worker's `load` was given. @throws EngineError bad-input */
export function acceptWorkerLoad(from: unknown, options: unknown) {
  const worker: Reader<Worker> = (value, name) => {
    if (typeof value !== "object" || value === null || !has(value, "postMessage", "function") || !has(value, "terminate", "function"))
      throw wrong(name, value, "a Worker", 'write new Worker(url, { type: "module" })');
    return value as Worker;
  };
  const chosen: Reader<Read<typeof DEVICE>> = (value, name) => {
    if (!isRecord(value) || isDevice(value))
      throw wrong(name, value, "{ adapter, powerPreference }: a device cannot be handed to a worker");
    return readOptions(name, value, DEVICE);
  };
  const { fetch: _, ...portable } = LOAD;
  return { source: acceptSource(from), ...readOptions("load", options, { ...portable, device: chosen, worker }) };
}
