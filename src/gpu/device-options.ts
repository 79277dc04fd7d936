import { EngineError } from "../errors.ts";
import { flag, has, isRecord, oneOf, quoted, type Reader, readOptions, text, wrong } from "../options.ts";

/** What `InternVL.load` takes as `device`, apart from a GPUDevice. */
export interface DeviceOptions {
  /** Part of an adapter's name. */
  adapter?: string | undefined;
  powerPreference?: GPUPowerPreference | undefined;
  /**
   * Times the variants of a kernel once for each class of shapes, two seconds at most in a load, and keeps the fastest, also for later loads;
   * false: goes by a table. By default so on GPUs, not so on adapters that compute on the CPU.
   */
  autotune?: boolean | undefined;
  /** False: without Dawn's bounds checks in shaders, in Node. To test that no kernel needs them. */
  robustness?: boolean | undefined;
}

function hintFor(value: unknown, name: string): string | undefined {
  if (typeof value === "string") return `write ${name}: { adapter: ${quoted(value)} } for an adapter whose name has this text`;
  if (has(value, "then")) return "await it first";
  return has(value, "requestDevice") ? "give what its requestDevice() resolves to" : undefined;
}

/** Reads what a caller gave as `device`; a GPUDevice is recognised by its members, since it may come from another realm. */
export const deviceOption: Reader<{ own: GPUDevice } | { options: DeviceOptions }> = (value, name) => {
  if (has(value, "createBuffer", "queue", "lost", "limits", "features")) return { own: value as GPUDevice };
  const hint = hintFor(value, name);
  if (hint || !isRecord(value)) throw wrong(name, value, "a GPUDevice, or { adapter, powerPreference }", hint);
  const shape = { adapter: text, powerPreference: oneOf("low-power", "high-performance"), autotune: flag, robustness: flag };
  return { options: readOptions(name, value, shape) };
};

const MIB = 2 ** 20;

/** What kernels count on: WebGPU's defaults. A device of compatibility mode has less. */
const NEEDED = {
  maxBufferSize: 256 * MIB,
  maxStorageBufferBindingSize: 128 * MIB,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
} as const;

/** @throws EngineError limit-exceeded naming every limit that is too small */
export function checkLimits({ limits }: GPUDevice, adapterName: string): void {
  const short = Object.entries(NEEDED).filter(([name, least]) => limits[name as keyof typeof NEEDED] < least);
  if (short.length === 0) return;
  const list = short.map(([name, least]) => `${name} ${limits[name as keyof typeof NEEDED]}, needs ${least}`);
  const hint = "ask for a device with WebGPU's default limits: no compatibility mode, nothing lower in requiredLimits";
  throw new EngineError("limit-exceeded", `the device on ${JSON.stringify(adapterName)} is too small: ${list.join("; ")}`, { hint });
}
