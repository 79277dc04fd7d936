import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import { type AdapterKind, kindOf } from "./adapter-kind.ts";
import { type Counters, newCounters } from "./counters.ts";
import { Kernels } from "./kernel.ts";
import { type MatrixSyntax, matrixSyntaxOf } from "./language.ts";
import { Memory } from "./memory.ts";
import { pacingOf } from "./pacing.ts";
import { Tuning } from "./tuning.ts";

/** What `InternVL.load` takes as `device`, apart from a GPUDevice. */
export interface DeviceOptions {
  /** Part of an adapter's name. */
  adapter?: string | undefined;
  powerPreference?: GPUPowerPreference | undefined;
  /** Times the variants of a kernel once for each class of shapes and keeps the fastest, instead of going by a table of adapters. */
  autotune?: boolean | undefined;
  /** False: without Dawn's bounds checks in shaders, in Node. To test that no kernel needs them. */
  robustness?: boolean | undefined;
}

/** One device with everything that belongs to it. */
export interface Gpu {
  readonly device: GPUDevice;
  /** The adapter's name, for people. */
  readonly adapterName: string;
  /** Whether the adapter is a GPU, or computes on the CPU (lavapipe, SwiftShader, WARP). */
  readonly kind: AdapterKind;
  readonly memory: Memory;
  readonly kernels: Kernels;
  /** The variants that were measured to be the fastest. */
  readonly tuning: Tuning;
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
  try {
    return await adapter.requestDevice({ label: "internvl", requiredFeatures, requiredLimits });
  } catch (cause) {
    throw new EngineError("no-adapter", `the adapter ${JSON.stringify(name)} gave no device: ${(cause as Error).message}`, { cause });
  }
}

type Loader = (gpu: Gpu) => Promise<void>;
const loaders: { kind: AdapterKind; load: Loader }[] = [];

/** What layers above have for one kind of adapter only is loaded when one is opened: pages on the other never download it. */
export function whenOpened(kind: AdapterKind, load: Loader): void {
  loaders.push({ kind, load });
}

const isDevice = (value: object): value is GPUDevice => "createBuffer" in value && "queue" in value;

/**
 * Opens a device, or wraps one that the caller owns.
 *
 * @throws EngineError no-webgpu, no-adapter
 */
export async function openGpu(options: GPUDevice | DeviceOptions = {}): Promise<Gpu> {
  const owned = !isDevice(options);
  let device: GPUDevice;
  let adapterName: string;
  let zeroes = true;
  if (owned) {
    const found = await platform.requestAdapter(options);
    device = await requestDevice(found.adapter, found.name);
    adapterName = found.name;
    zeroes = found.zeroes;
  } else {
    device = options;
    adapterName = device.adapterInfo?.description || "a device of the caller's";
  }
  let lost: string | undefined;
  device.lost.then(({ reason, message }) => {
    lost = `${reason}: ${message}`;
  });
  const counters = newCounters();
  const { vendor, architecture, description, isFallbackAdapter } = device.adapterInfo ?? {};
  const kind = kindOf({ name: adapterName, vendor, architecture, description, isFallbackAdapter });
  const wait = pacingOf(kind);
  const Storage = zeroes ? Memory : (await import("./unzeroed.ts")).UnzeroedMemory;
  const memory = new Storage(device, () => lost, wait, counters);
  const gpu: Gpu = {
    device,
    adapterName,
    kind,
    memory,
    tuning: new Tuning(owned && options.autotune === true),
    matrixSyntax: await matrixSyntaxOf(device),
    kernels: new Kernels(device, wait, counters),
    counters,
    lostReason: () => lost,
    close() {
      memory.clear();
      if (owned) device.destroy();
    },
  };
  try {
    for (const each of loaders) if (each.kind === kind) await each.load(gpu);
    return gpu;
  } catch (error) {
    gpu.close();
    throw error;
  }
}
