import { EngineError } from "../errors.ts";
import { deviceOption } from "../gpu/device-options.ts";
import { checkSource, type SourceLike } from "../hub/source.ts";
import { callback, can, count, has, number, oneOf, type Read, type Reader, readOptions, signal, text, wrong } from "../options.ts";
import type { LoadOptions } from "./load.ts";

/** A GPUDevice, or how to choose an adapter; `openGpu` takes it as it is. */
const device: Reader<NonNullable<LoadOptions["device"]>> = (value, name) => {
  const read = deviceOption(value, name);
  return "own" in read ? read.own : read.options;
};

/** LoRA adapters, each from where a model can come from. */
const adapters: Reader<SourceLike[]> = (value, name) => {
  if (!Array.isArray(value)) throw wrong(name, value, "a list of adapters' sources", `write { ${name}: ["./my-lora"] }`);
  return value.map((each) => checkSource(each, "an adapter's source"));
};

const worker: Reader<boolean | Worker> = (value, name) => {
  if (typeof value !== "boolean" && !can(value, "postMessage", "terminate"))
    throw wrong(name, value, "true, false or a Worker", 'write { worker: true }, or new Worker(url, { type: "module" })');
  return value as boolean | Worker;
};

/** Several of them, each once. */
export const severalOf =
  <T>(device: Reader<T>): Reader<T[]> =>
  (value, name) => {
    if (!Array.isArray(value) || value.length === 0)
      throw wrong(name, value, "a list of devices", `write { ${name}: [{ adapter: "…" }, …] }`);
    const read = value.map((each, i) => device(each, `${name}[${i}]`));
    for (const [i, each] of value.entries()) {
      const before = value.indexOf(each);
      if (before < i && has(each, "createBuffer")) throw wrong(`${name}[${i}]`, each, `another device than ${name}[${before}]`);
    }
    return read;
  };

/** The memory of each device. */
const split: Reader<number[]> = (value, name) => {
  const good = Array.isArray(value) && value.length > 0 && value.every((each) => Number.isFinite(each) && each > 0);
  if (!good) throw wrong(name, value, "a list of numbers above 0, the memory of each of devices");
  return value as number[];
};

/** What several devices need of one another. @throws EngineError bad-input */
export function checkDevices<T extends { device?: unknown; devices?: readonly unknown[]; split?: readonly number[] }>(options: T): T {
  const { device, devices, split } = options;
  if (device !== undefined && devices)
    throw new EngineError("bad-input", "load has device and devices, needs one of them", { param: "devices" });
  if (split && split.length !== (devices?.length ?? 0)) {
    const has = `split has ${split.length} numbers, devices has ${devices?.length ?? 0}`;
    throw new EngineError("bad-input", has, { hint: "give a number for each of devices, or leave split out", param: "split" });
  }
  return options;
}

/** What `load` takes, each option with its reader. */
export const LOAD = {
  device,
  devices: severalOf(device),
  split,
  adapters,
  weights: oneOf("auto", "bf16", "f16", "f32", "q8", "q4"),
  precision: oneOf("exact", "auto", "fast"),
  maxContext: count,
  kv: oneOf("auto", "f16", "f32"),
  slots: number("an integer from 1 to 8", (value) => Number.isInteger(value) && value >= 1 && value <= 8),
  kvBytes: count,
  endpoint: text,
  revision: text,
  token: text,
  cacheDir: text,
  fetch: callback<typeof fetch>(),
  worker,
  signal,
  onProgress: callback<NonNullable<LoadOptions["onProgress"]>>(),
};

/** What `load` was given. @throws EngineError bad-input */
export function acceptLoad(from: unknown, options: unknown): { source: SourceLike } & Read<typeof LOAD> {
  return { source: checkSource(from), ...checkDevices(readOptions("load", options, LOAD)) };
}

const { endpoint, revision, token, cacheDir, fetch: request, signal: abort } = LOAD;

/** The options of `load` that say where a checkpoint comes from, for other functions that open one. */
export const SOURCE = { endpoint, revision, token, cacheDir, fetch: request, signal: abort };
