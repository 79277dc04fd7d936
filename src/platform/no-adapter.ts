import { EngineError } from "../errors.ts";
import { quoted } from "../options.ts";

/** How an adapter is chosen; the command line says `--adapter` in its place. */
export const CHOOSE = 'device: { adapter: "part of its name" }';

const SYSTEM: Partial<Record<NodeJS.Platform, string>> = {
  darwin: "macOS brings its drivers along: WebGPU needs a Mac with Metal",
  win32: "install the driver of the GPU's maker: WebGPU goes through Direct3D 12",
};

const NVIDIA =
  "install NVIDIA's own driver with its Vulkan files (Debian: nvidia-vulkan-icd), and in a container ask for its graphics capability";
const MESA = "install Mesa's Vulkan driver (Debian: mesa-vulkan-drivers from bookworm-backports)";
const SWIFTSHADER = "on Linux x64: npm install @sparticuz/chromium@147.0.0 tar-fs";

/** What brings the adapters on Linux whose names contain these words. */
const DRIVERS: readonly (readonly [RegExp, string])[] = [
  [/nvidia|geforce|rtx|gtx|quadro|tesla/i, NVIDIA],
  [/\bamd\b|radeon|radv|intel|\barc\b|iris/i, MESA],
  [/llvmpipe|lavapipe/i, MESA],
  [/swiftshader/i, SWIFTSHADER],
];

function remedy(names: readonly string[], wanted: string | undefined, platform: NodeJS.Platform): string {
  const system = SYSTEM[platform];
  const driver = wanted && DRIVERS.find(([words]) => words.test(wanted))?.[1];
  if (driver) return `${system ?? driver}; ${names.length ? "or take one that is there" : "then choose it"}: ${CHOOSE}`;
  if (names.length) return `choose one that is there: ${CHOOSE}`;
  return (
    system ??
    `install your GPU's Vulkan driver (NVIDIA's own; Mesa's for others and for CPUs: mesa-vulkan-drivers from Debian's bookworm-backports), or ${SWIFTSHADER}`
  );
}

/** What brings a GPU's adapter, or a faster one on the CPU, where a machine has only these software adapters. */
export function driverFor(adapters: readonly string[], platform: NodeJS.Platform = process.platform): string[] {
  const gpu = SYSTEM[platform] ?? `for a GPU of NVIDIA's: ${NVIDIA}; for any other: ${MESA}`;
  const faster = platform === "linux" && !adapters.some((name) => /llvmpipe/i.test(name));
  return [gpu, ...(faster ? [`without a GPU: ${MESA}, whose lavapipe is several times faster than SwiftShader`] : [])];
}

/**
 * The error where no adapter is what was asked for.
 *
 * @param names the adapters of this machine
 * @param fromEnvironment whether INTERNVL_ADAPTER asked, not the caller
 */
export function noSuchAdapter(
  names: readonly string[],
  wanted: string | undefined,
  fromEnvironment: boolean,
  platform: NodeJS.Platform = process.platform,
): EngineError {
  const have = names.length ? `this machine has ${names.map((each) => JSON.stringify(each)).join(", ")}` : "this machine has none";
  const asked = wanted === undefined ? undefined : `${quoted(wanted)}${fromEnvironment ? " (which INTERNVL_ADAPTER asks for)" : ""}`;
  const hint = remedy(names, wanted, platform);
  return new EngineError("no-adapter", asked ? `no WebGPU adapter's name contains ${asked}: ${have}` : "no WebGPU adapter found", { hint });
}

/** The error for an adapter that is listed but does not work. */
export function notGiven(name: string, cause?: unknown): EngineError {
  const why = cause === undefined ? "" : `: ${(cause as Error).message}`;
  const hint = `choose another: ${CHOOSE}`;
  return new EngineError("no-adapter", `the adapter ${JSON.stringify(name)} is listed but not given out${why}`, { hint, cause });
}

/** The error where WebGPU fails before it tells what adapters there are. */
export function notListed(cause: unknown): EngineError {
  const hint = "see whether the GPU's driver works: on Linux, vulkaninfo --summary";
  return new EngineError("no-adapter", `WebGPU does not list this machine's adapters: ${(cause as Error).message}`, { hint, cause });
}
