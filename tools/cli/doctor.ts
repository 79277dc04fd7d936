import { platform } from "#platform";
import { openGpu } from "../../src/gpu/device.ts";
import { gibibytes } from "../../src/weights/fit.ts";
import { sizes } from "./sizes.ts";

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
  /** Bytes that each size of InternVL 2.5 takes on the GPU with a default context, by format, to compare with the adapter's memory. */
  memory: Record<string, Record<string, number>>;
  /** Which variant was measured to be the fastest, by class of shapes (autotune). */
  tuning: Record<string, string>;
}

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
    memory: sizes(),
    tuning: gpu.tuning.toJSON(),
  };
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const lines = [
    `Node ${report.node} on ${report.platform}`,
    `adapters, best first: ${adapters.join(", ")}`,
    `chosen: ${name}${gpu.kind === "cpu" ? " (a software adapter: right, but slow; install your GPU's Vulkan driver)" : ""}`,
    ...FEATURES.map(
      (feature) =>
        `  ${report.features[feature] ? "yes" : "no "}  ${feature}${report.features[feature] ? "" : " (not needed, faster with it)"}`,
    ),
    ...LIMITS.map(
      (limit) => `  ${limit.padEnd(36)} ${report.limits[limit]! >= 2 ** 20 ? mebibytes(report.limits[limit]!) : report.limits[limit]}`,
    ),
    ...tuningLines(gpu.tuning.enabled, report.tuning),
    "memory of the GPU that a model takes with 8192 tokens of context, by --weights:",
    ...Object.entries(report.memory).map(([model, formats]) => {
      const each = Object.entries(formats).map(([format, bytes]) => `${gibibytes(bytes).padStart(9)} ${format}`);
      return `  ${model.padEnd(20)} ${each.join("  ")}`;
    }),
    "WebGPU does not tell how much memory an adapter has: compare with your GPU's own.",
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
