import { platform } from "#platform";
import { EngineError, late } from "../errors.ts";
import { type AdapterKind, isMobile, isNullHardware, kindOf, makerOf } from "./adapter-kind.ts";
import { type Counters, newCounters } from "./counters.ts";
import { checkLimits, type DeviceOptions, deviceOption } from "./device-options.ts";
import { bringLanguage, Kernels } from "./kernel.ts";
import type { MatrixSyntax } from "./language.ts";
import { Memory } from "./memory.ts";
import { pacingOf } from "./pacing.ts";
import { type Subgroups, subgroupsOf } from "./subgroups.ts";
import { storedChoices, Tuning } from "./tuning.ts";

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

/** Asks an adapter for everything it has to give. */
async function requestDevice(adapter: GPUAdapter, name: string): Promise<GPUDevice> {
  const requiredFeatures = WANTED_FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  for (const limit of [
    "maxStorageBufferBindingSize",
    "maxBufferSize",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
  ] as const) {
    requiredLimits[limit] = adapter.limits[limit];
  }
  const hint = 'choose another adapter (device: { adapter: "part of its name" }), or update its driver';
  let device: GPUDevice | null;
  try {
    device = await adapter.requestDevice({ label: "internvl", requiredFeatures, requiredLimits });
  } catch (cause) {
    throw new EngineError("no-adapter", `the adapter ${JSON.stringify(name)} gave no device: ${(cause as Error).message}`, { hint, cause });
  }
  if (!device) throw new EngineError("no-adapter", `the adapter ${JSON.stringify(name)} gave no device`, { hint });
  return device;
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
    if (lostReason() === undefined) return found; // Dawn tells of a device that was destroyed once it is asked for anything
  } catch (error) {
    cause = error;
  }
  const why = lostReason() ?? (cause as Error).message;
  throw new EngineError(
    "device-lost",
    owned ? `the GPU device was lost (${why})` : `the GPUDevice given as device does not work (${why})`,
    {
      hint: owned ? "load the model again" : "give one that was not destroyed or lost: ask an adapter for a new one",
      cause,
    },
  );
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
  const given = deviceOption(choice ?? {}, "device");
  const owned = "options" in given;
  let device: GPUDevice;
  let adapterName: string;
  let info: GPUAdapterInfo | undefined;
  let zeroes = true;
  if (owned) {
    const found = await platform.requestAdapter(given.options);
    device = await requestDevice(found.adapter, found.name);
    adapterName = found.name;
    info = found.adapter.info;
    zeroes = found.zeroes;
  } else {
    device = given.own;
    info = device.adapterInfo;
    adapterName = info?.description || "a device of the caller's";
  }
  let lost: string | undefined;
  if (owned) platform.untilExit(device);
  device.lost.then(({ reason, message }) => {
    lost = `${reason}: ${message}`;
  });
  let gpu: Gpu | undefined;
  try {
    checkLimits(device, adapterName);
    const matrixSyntax = await probe(device, owned, () => lost);
    const counters = newCounters();
    const { architecture, description, device: model, isFallbackAdapter } = info ?? {};
    const vendor = makerOf({ name: adapterName, device: model, vendor: info?.vendor });
    const kind = kindOf({ name: adapterName, vendor, architecture, description, isFallbackAdapter });
    const mobile = kind === "gpu" && (platform.mobile || isMobile(vendor));
    const subgroups = subgroupsOf(device.features, info ?? {});
    const wait = pacingOf(kind);
    const Storage = zeroes ? Memory : (await late("the memory for this adapter", import("./unzeroed.ts"))).UnzeroedMemory;
    const memory = new Storage(device, () => lost, wait, counters, mobile ? 2 ** 30 : undefined);
    const tunes = owned && (given.options.autotune ?? (kind === "gpu" && !isNullHardware(adapterName)));
    const tuning = await Tuning.open(tunes ? storedChoices([adapterName, vendor, architecture, description].join(" ")) : undefined);
    gpu = {
      device,
      adapterName,
      kind,
      mobile,
      large: kind === "gpu" && !mobile,
      vendor,
      memory,
      tuning,
      subgroups,
      matrixSyntax,
      kernels: new Kernels(device, wait, counters, subgroups.pinned, matrixSyntax),
      counters,
      lostReason: () => lost,
      close() {
        memory.clear();
        if (owned) device.destroy();
      },
    };
    for (const each of loaders) if (each.kind === kind) await each.load(gpu);
    return gpu;
  } catch (error) {
    gpu?.close();
    if (owned) device.destroy();
    throw error;
  }
}
