import { platform } from "#platform";
import { EngineError, late } from "../errors.ts";
import { type AdapterKind, isMobile, isNullHardware, kindOf, makerOf } from "./adapter-kind.ts";
import { type Counters, newCounters } from "./counters.ts";
import { checkLimits, type DeviceOptions, deviceOption } from "./device-options.ts";
import { bringLanguage, type Kernels, kernelsOf } from "./kernel.ts";
import type { MatrixSyntax } from "./language.ts";
import { Memory } from "./memory.ts";
import { pacingOf } from "./pacing.ts";
import { type Subgroups, subgroupsOf } from "./subgroups.ts";
import { openTuning, storedChoices, type Tuning } from "./tuning.ts";

export type { DeviceOptions };

/** One device with everything that belongs to it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** The adapter's name, for people. */
  readonly adapterName: string;
  /** Whether the adapter is a GPU, or computes on the CPU (lavapipe, SwiftShader, WARP). */
  readonly kind: AdapterKind;
  /** Whether it is a phone's or a tablet's: steps are small there, few are on their way at once, and no buffer is larger than 1 GiB. */
  readonly mobile: boolean;
  /** Whether a long step pays: not where a CPU computes, nor on a phone. */
  readonly large: boolean;
  /** Its maker, as WebGPU says it; empty where a browser keeps it to itself. */
  readonly vendor: string;
  readonly memory: Memory;
  readonly kernels: Kernels;
  /** The variants that were measured to be the fastest. */
  readonly tuning: Tuning;
  readonly subgroups: Subgroups;
  /** How loads of subgroup matrices are written here; undefined where there are none. */
  readonly matrixSyntax: MatrixSyntax | undefined;
  readonly counters: Counters;
  /** Why the device was lost; undefined while it works. */
  lostReason(): string | undefined;
  /** Frees all buffers; destroys the device if it was opened here. */
  close(): void;
}

// Wanted where present, required nowhere: every op has a path without them.
const WANTED_FEATURES = ["shader-f16", "subgroups", "subgroup-size-control", "chromium-experimental-subgroup-matrix"];
const WANTED_LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

/** Asks an adapter for everything it has to give. */
async function requestDevice(adapter: GPUAdapter, name: string): Promise<GPUDevice> {
  const requiredFeatures = WANTED_FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[];
  const requiredLimits = Object.fromEntries(WANTED_LIMITS.map((limit) => [limit, adapter.limits[limit]]));
  const hint = 'choose another adapter (device: { adapter: "part of its name" }), or update its driver';
  const refused = (cause?: Error) =>
    new EngineError("no-adapter", `the adapter ${JSON.stringify(name)} gave no device${cause ? `: ${cause.message}` : ""}`, {
      hint,
      cause,
    });
  let device: GPUDevice | null;
  try {
    device = await adapter.requestDevice({ label: "internvl", requiredFeatures, requiredLimits });
  } catch (cause) {
    throw refused(cause as Error);
  }
  if (!device) throw refused();
  return device;
}

/** A device, and what is known of its adapter. */
interface Opened {
  device: GPUDevice;
  name: string;
  info: GPUAdapterInfo | undefined;
  zeroes: boolean; // platform: `NamedAdapter.zeroes`
  /** Undefined where the device is the caller's own. */
  options?: DeviceOptions;
}

async function obtain(choice: GPUDevice | DeviceOptions): Promise<Opened> {
  const given = deviceOption(choice, "device");
  if ("own" in given) {
    const info = given.own.adapterInfo as GPUAdapterInfo | undefined; // older browsers have none
    return { device: given.own, name: info?.description || "a device of the caller's", info, zeroes: true };
  }
  const { adapter, name, zeroes } = await platform.requestAdapter(given.options);
  return { device: await requestDevice(adapter, name), name, info: adapter.info, zeroes, options: given.options };
}

/** What an adapter is, by its name and what it says of itself. */
function adapterOf(name: string, info: GPUAdapterInfo | undefined) {
  const { architecture, description, device, isFallbackAdapter } = info ?? {};
  const vendor = makerOf({ name, device, vendor: info?.vendor });
  const kind = kindOf({ name, vendor, architecture, description, isFallbackAdapter });
  const mobile = kind === "gpu" && (platform.mobile || isMobile(vendor));
  const key = [name, vendor, architecture, description].join(" "); // of what was measured on it
  return { adapterName: name, vendor, kind, mobile, large: kind === "gpu" && !mobile, key };
}

type Loader = (gpu: Gpu) => Promise<void>;
const loaders: { kind: AdapterKind; load: Loader }[] = [];

/** What layers above have for one kind of adapter only is loaded when one is opened: pages on the other never download it. */
export function whenOpened(kind: AdapterKind, load: Loader): void {
  loaders.push({ kind, load });
}

/** How this device's compiler takes what differs, asked by compiling. @throws EngineError device-lost for a device that does not work any more */
async function probe(device: GPUDevice, owned: boolean, lostReason: () => string | undefined): Promise<MatrixSyntax | undefined> {
  const { features } = device;
  const matrices = features.has("chromium-experimental-subgroup-matrix" as GPUFeatureName) && features.has("shader-f16");
  const language = matrices ? await bringLanguage() : undefined;
  let cause: unknown;
  try {
    const found = await language?.matrixSyntaxOf(device);
    if (lostReason() === undefined) return found; // Dawn says that a device was destroyed only when it is asked for something
  } catch (error) {
    cause = error;
  }
  const why = lostReason() ?? (cause as Error).message;
  const problem = owned ? `the GPU device was lost (${why})` : `the GPUDevice given as device does not work (${why})`;
  const hint = owned ? "load the model again" : "give one that was not destroyed or lost: ask an adapter for a new one";
  throw new EngineError("device-lost", problem, { hint, cause });
}

/**
 * Opens a device, or wraps one that the caller owns.
 *
 * @throws EngineError no-webgpu, no-adapter, bad-input, limit-exceeded, device-lost
 *
 * @example
 * ```ts
 * const gpu = await openGpu({ powerPreference: "high-performance" });
 * gpu.close();
 * ```
 */
export async function openGpu(choice: GPUDevice | DeviceOptions = {}): Promise<Gpu> {
  const { device, name, info, zeroes, options } = await obtain(choice ?? {});
  const owned = options !== undefined;
  let lost: string | undefined;
  if (owned) platform.untilExit(device);
  device.lost.then(({ reason, message }) => {
    lost = `${reason}: ${message}`;
  });
  const lostReason = () => lost;
  let gpu: Gpu | undefined;
  try {
    checkLimits(device, name);
    const matrixSyntax = await probe(device, owned, lostReason);
    const { key, ...adapter } = adapterOf(name, info);
    const { kind, mobile } = adapter;
    const counters = newCounters();
    const subgroups = subgroupsOf(device.features, info ?? {});
    const wait = pacingOf(kind);
    const Storage = zeroes ? Memory : (await late("the memory for this adapter", import("./unzeroed.ts"))).UnzeroedMemory;
    const memory = new Storage(device, lostReason, wait, counters, mobile ? 2 ** 30 : undefined);
    const tunes = options && (options.autotune ?? (kind === "gpu" && !isNullHardware(name)));
    const tuning = await openTuning(tunes ? storedChoices(key) : undefined);
    const kernels = kernelsOf(device, wait, counters, subgroups.pinned, matrixSyntax);
    const close = () => {
      memory.clear();
      if (owned) device.destroy();
    };
    gpu = { ...adapter, device, memory, kernels, tuning, subgroups, matrixSyntax, counters, lostReason, close };
    for (const each of loaders) if (each.kind === kind) await each.load(gpu);
    return gpu;
  } catch (error) {
    gpu?.close();
    if (owned) device.destroy();
    throw error;
  }
}
