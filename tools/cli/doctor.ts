import { platform } from "#platform";
import { openGpu } from "../../src/gpu/device.ts";

const FEATURES = ["shader-f16", "subgroups", "timestamp-query", "subgroup-size-control", "chromium-experimental-subgroup-matrix"];
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
] as const;

interface Report {
  node: string;
  platform: string;
  adapters: string[];
  adapter: string;
  features: Record<string, boolean>;
  limits: Record<string, number>;
  /** Bytes of the 4B model's weights in bf16, to compare with the adapter's memory (WebGPU does not tell its size). */
  modelBytes: Record<string, number>;
  /** Which variant was measured to be the fastest, by class of shapes (autotune). */
  tuning: Record<string, string>;
}

/** How a process is given one of several GPUs that have one name. */
const ONE_OF_EQUALS = `in a container with one of them${process.platform === "linux" ? ", or, with Mesa's device-select layer, by DRI_PRIME=pci-0000_02_00_0! (its slot; MESA_VK_DEVICE_SELECT=list lists them)" : ""}`;

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

function tuningLines(enabled: boolean, tuning: Record<string, string>): string[] {
  if (!enabled) return ["kernels: by the table (autotune is for GPUs)"];
  const found = Object.entries(tuning);
  if (found.length === 0) return ["kernels: by the table; the first load measures which are the fastest here"];
  return ["kernels measured to be the fastest here:", ...found.map(([shapeClass, variant]) => `  ${variant.padEnd(24)} ${shapeClass}`)];
}

export async function doctor(flags: { adapter?: string; json?: boolean }): Promise<void> {
  const adapters = await platform.listAdapters();
  const { adapter, name } = await platform.requestAdapter({ adapter: flags.adapter });
  const gpu = await openGpu({ adapter: flags.adapter }); // the device is really given out
  gpu.close();
  const report: Report = {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    adapters,
    adapter: name,
    features: Object.fromEntries(FEATURES.map((feature) => [feature, adapter.features.has(feature)])),
    limits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
    modelBytes: { "nano (bf16)": 9_757_312, "InternVL2_5-4B (bf16)": 7_425_275_904 },
    tuning: gpu.tuning.toJSON(),
  };
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const lines = [
    `Node ${report.node} on ${report.platform}`,
    `adapters, best first: ${adapters.join(", ")}`,
    "several GPUs: --devices A,B splits a model over those that have different names. Two of one name cannot be told apart within a process: run one for each",
    `  ${ONE_OF_EQUALS}; docs/scaling.md has more`,
    `chosen: ${name}${gpu.kind === "cpu" ? " (a software adapter: right, but slow; install your GPU's Vulkan driver)" : ""}`,
    ...FEATURES.map(
      (feature) =>
        `  ${report.features[feature] ? "yes" : "no "}  ${feature}${report.features[feature] ? "" : " (not needed, faster with it)"}`,
    ),
    ...LIMITS.map(
      (limit) => `  ${limit.padEnd(36)} ${report.limits[limit]! >= 2 ** 20 ? mebibytes(report.limits[limit]!) : report.limits[limit]}`,
    ),
    ...tuningLines(gpu.tuning.enabled, report.tuning),
    "weights on the GPU, beside the KV cache and about 0.5 GiB of activations:",
    ...Object.entries(report.modelBytes).map(([model, bytes]) => `  ${model.padEnd(36)} ${mebibytes(bytes)}`),
    "WebGPU does not tell how much memory an adapter has: compare with your GPU's own.",
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
