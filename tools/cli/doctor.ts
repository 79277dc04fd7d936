import { totalmem } from "node:os";
import { platform } from "#platform";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { driverFor } from "../../src/platform/no-adapter.ts";
import { gibibytes } from "../../src/weights/fit.ts";
import { FAMILY, FORMATS, type Need, needs, ON_PHONES } from "../family.ts";
import { kept } from "./quiet.ts";
import { status } from "./status.ts";

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
  /** Bytes of the machine's memory: all, and what a program can still take. */
  memory: { total: number; available: number };
  adapters: string[];
  adapter: string;
  kind: Gpu["kind"];
  /** Whether it is a phone's: steps are small there. */
  mobile: boolean;
  features: Record<string, boolean>;
  limits: Record<string, number>;
  models: Need[];
  /** Which variant was measured to be the fastest, by class of shapes (autotune). */
  tuning: Record<string, string>;
  /** What would make it faster, or more of it possible. */
  install: string[];
  /** With --verbose: what Dawn itself said. Off a terminal it is on stderr. */
  dawn?: string[];
}

const DRI =
  process.platform === "linux"
    ? ", or, with Mesa's device-select layer, by DRI_PRIME=pci-0000_02_00_0! (its slot; MESA_VK_DEVICE_SELECT=list lists them)"
    : "";
/** What somebody with more than one GPU wants to know: told where there is one, and with --verbose. */
const SEVERAL = [
  "several GPUs: --devices A,B splits a model over those that have different names. Two of one name cannot be told apart within a process: run one for each",
  `  in a container with one of them${DRI}; docs/scaling.md has more`,
];

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

function familyLines({ models, kind }: Report): string[] {
  const cell = ({ bytes, fits }: Need) => `${gibibytes(bytes).padStart(9)} ${fits ? "fits" : "no  "}`;
  const rows = FAMILY.map(
    ({ model }) =>
      `  ${model.padEnd(16)}${models
        .filter((each) => each.model === model)
        .map(cell)
        .join("  ")}`,
  );
  const where = kind === "cpu" ? "in the machine's free memory" : "on this GPU, as far as it gives memory now";
  return [
    `what a model needs ${where} (weights, 8192 tokens of keys and values, activations):`,
    `  ${"".padEnd(16)}${FORMATS.map((format) => format.padStart(9).padEnd(14)).join("  ")}`.trimEnd(),
    ...rows,
  ];
}

function tuningLines(enabled: boolean, tuning: Record<string, string>): string[] {
  if (!enabled) return ["kernels: by the table (autotune is for GPUs)"];
  const found = Object.entries(tuning);
  if (found.length === 0) return ["kernels: by the table; the first load measures which are the fastest here"];
  return ["kernels measured to be the fastest here:", ...found.map(([shapeClass, variant]) => `  ${variant.padEnd(24)} ${shapeClass}`)];
}

function linesOf(report: Report, tunes: boolean): string[] {
  const { memory, adapters, adapter, kind, mobile, features, limits, install, dawn } = report;
  const software = kind === "cpu" ? " (a software adapter: right, but slow)" : "";
  return [
    `Node ${report.node} on ${report.platform}, ${gibibytes(memory.total)} of memory, ${gibibytes(memory.available)} free`,
    `adapters, best first: ${adapters.join(", ")}`,
    ...(kind === "cpu" && !dawn ? [] : SEVERAL),
    `chosen: ${adapter}${software}`,
    ...(mobile ? [`  ${ON_PHONES}`] : []),
    ...FEATURES.map(
      (feature) => `  ${features[feature] ? "yes" : "no "}  ${feature}${features[feature] ? "" : " (not needed, faster with it)"}`,
    ),
    ...LIMITS.map((limit) => `  ${limit.padEnd(36)} ${limits[limit]! >= 2 ** 20 ? mebibytes(limits[limit]!) : limits[limit]}`),
    ...tuningLines(tunes, report.tuning),
    ...familyLines(report),
    ...(install.length > 0 ? ["to install:", ...install.map((each) => `  ${each}`)] : []),
    ...(dawn
      ? [
          `what Dawn says: ${dawn.length === 0 ? "nothing, or it stands on stderr" : ""}`.trimEnd(),
          ...[...new Set(dawn)].map((line) => `  ${line}`),
        ]
      : []),
  ];
}

export async function doctor(flags: { adapter?: string; json?: boolean; verbose?: boolean }): Promise<void> {
  const adapters = await platform.listAdapters();
  const { adapter, name } = await platform.requestAdapter({ adapter: flags.adapter });
  const gpu = await openGpu({ adapter: flags.adapter }); // the device is really given out
  try {
    const memory = { total: totalmem(), available: platform.availableMemory() ?? totalmem() };
    const report: Report = {
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      memory,
      adapters,
      adapter: name,
      kind: gpu.kind,
      mobile: gpu.mobile,
      features: Object.fromEntries(FEATURES.map((feature) => [feature, adapter.features.has(feature)])),
      limits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
      models: await needs(gpu, memory.available, (bytes) => status(`asking for ${gibibytes(bytes)}`)),
      tuning: gpu.tuning.toJSON(),
      install: gpu.kind === "cpu" ? driverFor(adapters) : [],
      ...(flags.verbose ? { dawn: kept } : {}),
    };
    status("");
    process.stdout.write(`${flags.json ? JSON.stringify(report) : linesOf(report, gpu.tuning.enabled).join("\n")}\n`);
  } finally {
    gpu.close();
  }
}
