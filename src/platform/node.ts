import { freemem, homedir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../errors.ts";
import { kindOf } from "../gpu/adapter-kind.ts";
import { expandHome, openFile, pathKind, pathOfUrl, readFile } from "./files.ts";
import { noSuchAdapter, notGiven, notListed } from "./no-adapter.ts";
import { nodeSha256, nodeStore } from "./node-store.ts";
import { jpegDecoder, startDecoder, startGrammars, startModel } from "./node-threads.ts";
import { once } from "./once.ts";
import { paced } from "./pacing.ts";
import type { AdapterRequest, NamedAdapter, Platform } from "./platform.ts";
import type { FileStore } from "./store.ts";
import { offerSwiftShader } from "./swiftshader.ts";

type Dawn = typeof import("webgpu");

const loadDawn = once(async (): Promise<Dawn> => {
  try {
    const dawn = await import("webgpu");
    for (const [name, value] of Object.entries(dawn.globals)) {
      if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    return dawn;
  } catch (cause) {
    throw new EngineError("no-webgpu", `WebGPU is missing: the package "webgpu" does not load on ${process.platform}-${process.arch}`, {
      hint: "install it beside internvl-webgpu: npm install webgpu@0.6.2",
      cause,
    });
  }
});

/** Goes around each call in which Dawn looks for adapters: there it writes on stderr itself. A program may keep that from a terminal. */
export const looking = { around: <T>(call: () => T): T => call() };

const instances = new Map<string, GPU>();

/**
 * Dawn's entry for some options, the same for every call. Node crashes when it is collected as garbage while something that came from it is in
 * use, or still on its way: so it is kept for good, and from the start, before anything is awaited that comes from it.
 */
function instanceOf(dawn: Dawn, options: string[]): GPU {
  const key = options.join();
  const gpu = instances.get(key) ?? dawn.create(options);
  instances.set(key, gpu);
  return gpu;
}

/** Dawn's toggles: f16 on NVIDIA's Vulkan driver and the experimental features are behind them. */
const TOGGLES = "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia";

// Dawn zeroes a buffer that is not filled by its first write. For weights that costs a seventh of the load on adapters whose memory is the
// machine's, so there the engine zeroes what is to be zero (Memory.create).
const UNZEROED = "disable-dawn-features=lazy_clear_resource_on_first_use";
// Nor is workgroup memory zeroed there, which no kernel counts on: compiling that takes SwiftShader two thirds of a kernel with barriers.
const UNCLEARED = ",disable_workgroup_init";

/**
 * The adapters' names; Dawn has no call for it, but lists them when asked for one that does not exist.
 *
 * @param round an entry lists the drivers that were known when it was made: another round has another one
 */
async function namesOf(round: string): Promise<string[]> {
  const gpu = instanceOf(await loadDawn(), [`adapter=\u0001${round}`]);
  try {
    await looking.around(() => gpu.requestAdapter());
    return [];
  } catch (error) {
    const message = String((error as Error).message);
    if (!message.includes("Available adapters")) throw notListed(error);
    const found = [...message.matchAll(/backend: '([^']*)', name: '([^']*)'/g)];
    return found.filter(([, backend]) => backend !== "null").map(([, , name]) => name!); // the null backend computes nothing
  }
}

/** Whether the Vulkan loader that Dawn opens is installed. Dawn itself would print a warning with a stack trace if it is not. */
function hasVulkanLoader(): boolean {
  try {
    process.dlopen({ exports: {} }, "libvulkan.so.1");
  } catch (error) {
    return !/cannot open shared object file/.test(String(error)); // a library that is not a Node module is loaded, then refused
  }
  return true;
}

const rank = (name: string): number => (/swiftshader/i.test(name) ? 2 : kindOf({ name }) === "cpu" ? 1 : 0);

const installedNames = once(async () => {
  if (process.platform === "linux" && !hasVulkanLoader()) await offerSwiftShader(true);
  return namesOf("installed");
});

/** With the SwiftShader of the development packages, where they are there. */
const allNames = once(async () => {
  const installed = await installedNames(); // one after the other: offering changes the environment that drivers read
  return (await offerSwiftShader(false)) ? namesOf("all") : installed;
});

const contains = (name: string, wanted: string | undefined): boolean => !wanted || name.toLowerCase().includes(wanted.toLowerCase());

/** The adapters' names, best first. Only where none of those that are installed is wanted, SwiftShader is unpacked. */
async function adapterNames(wanted: string | undefined): Promise<string[]> {
  const installed = await installedNames();
  const names = installed.some((name) => contains(name, wanted)) ? installed : await allNames();
  return [...new Set(names)].sort((a, b) => rank(a) - rank(b));
}

async function requestAdapter({ adapter: wanted, powerPreference, robustness = true }: AdapterRequest): Promise<NamedAdapter> {
  const text = wanted || process.env.INTERNVL_ADAPTER || undefined;
  const dawn = await loadDawn();
  const names = await adapterNames(text);
  const name = names.find((candidate) => contains(candidate, text));
  if (name === undefined) throw noSuchAdapter(names, text, !wanted);
  // Without a wish and with real GPUs, Dawn's own order and the power preference decide among them.
  const free = !text && rank(name) === 0 && powerPreference !== undefined;
  const toggles = robustness ? TOGGLES : `${TOGGLES},disable_robustness`;
  const zeroes = kindOf({ name }) === "gpu";
  const gpu = instanceOf(dawn, [...(zeroes ? [toggles] : [toggles + UNCLEARED, UNZEROED]), ...(free ? [] : [`adapter=${name}`])]);
  let adapter: GPUAdapter | null;
  try {
    adapter = await looking.around(() => gpu.requestAdapter(powerPreference ? { powerPreference } : {}));
  } catch (cause) {
    throw notGiven(name, cause);
  }
  if (!adapter) throw notGiven(name);
  return { adapter, name, zeroes };
}

const living = new Set<GPUDevice>();

function untilExit(device: GPUDevice): void {
  if (living.size === 0) process.on("exit", destroyLiving);
  living.add(device);
  device.lost.then(() => {
    living.delete(device);
    if (living.size === 0) process.off("exit", destroyLiving);
  });
}

function destroyLiving(): void {
  for (const device of living) device.destroy();
}

async function listAdapters(): Promise<string[]> {
  try {
    return await adapterNames("swiftshader"); // asks for the bundled one too, so that the list is complete
  } catch (error) {
    const installed = await installedNames();
    if (installed.length === 0) throw error;
    return adapterNames(undefined); // whoever asks for SwiftShader by name learns why there is none
  }
}

/** Respects the limit of a container (cgroups), which os.freemem does not know. */
function availableMemory(): number {
  const free = freemem();
  const constrained = process.availableMemory?.() ?? free; // Node 20.13 and newer
  return Math.min(free, constrained);
}

const env = (name: string): string | undefined => process.env[name] || undefined;

const caches = (): string => env("XDG_CACHE_HOME") ?? join(homedir(), ".cache");
const MOST_TOKEN = 2 ** 16; // bytes
const hubHome = (): string => env("HF_HOME") ?? join(caches(), "huggingface");

/** HF_TOKEN, or what `hf auth login` has stored. */
async function hubToken(): Promise<{ value: string; from: string } | undefined> {
  for (const from of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const value = env(from)?.trim();
    if (value) return { value, from: `the variable ${from}` };
  }
  const path = expandHome(env("HF_TOKEN_PATH") ?? join(hubHome(), "token"));
  const bytes = await readFile(path, MOST_TOKEN).catch(() => undefined); // no file is not a token, and public models need none
  const value = new TextDecoder().decode(bytes).trim();
  return value ? { value, from: `the file ${path}` } : undefined;
}

/** The rules of huggingface_hub: HF_HUB_CACHE, or `hub` below HF_HOME, which is below XDG_CACHE_HOME or ~/.cache. */
async function openStore(kind: "hub" | "urls" | "out", folder?: string): Promise<FileStore> {
  const hub = env("HF_HUB_CACHE") ?? env("HUGGINGFACE_HUB_CACHE") ?? join(hubHome(), "hub");
  const root = folder ?? (kind === "hub" ? hub : join(caches(), "internvl-webgpu"));
  const choice = kind === "out" ? "out" : folder ? "cacheDir" : kind === "hub" ? "HF_HOME, or cacheDir," : "XDG_CACHE_HOME, or cacheDir,";
  return nodeStore(expandHome(root), choice, openFile);
}

/** What differs between Node and a page, in Node. */
export const platform: Platform = {
  requestAdapter,
  untilExit,
  listAdapters,
  paced,
  openFile,
  pathKind,
  availableMemory,
  mobile: false,
  pathOfUrl,
  expandHome,
  env,
  hasSystem: true,
  seesEverything: true,
  hubToken,
  openStore,
  sha256: nodeSha256,
  readFile,
  pixelsOf: async () => undefined, // Node has none of the browser's image objects
  fileOf: async () => undefined,
  decodeNative: async (job) => (await import("./node-images.ts")).decodeNative(job),
  openVideo: async (job) => (await import("./node-video.ts")).openVideo(job),
  startDecoder,
  startGrammars,
  startModel,
  jpegDecoder,
  portable: async (image) => ({ image, transfer: [] }),
  media: async () => (await import("./node-media.ts")).media,
};
