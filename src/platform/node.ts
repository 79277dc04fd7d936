import { type FileHandle, open, readFile as read, stat } from "node:fs/promises";
import { freemem, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EngineError } from "../errors.ts";
import { kindOf } from "../gpu/adapter-kind.ts";
import type { ByteSource } from "../safetensors/types.ts";
import { calmly } from "./calm.ts";
import { expandHome, nodeSha256, nodeStore } from "./node-store.ts";
import type { AdapterRequest, NamedAdapter, Platform } from "./platform.ts";
import type { FileStore } from "./store.ts";
import { offerSwiftShader } from "./swiftshader.ts";

type Dawn = typeof import("webgpu");

// Node crashes under garbage collection when the object that made a device is collected before the device: they stay here.
const instances = new Map<string, GPU>();

async function loadDawn(): Promise<Dawn> {
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
}

/** Dawn's toggles: f16 on NVIDIA's Vulkan driver and the experimental features are behind them. */
const TOGGLES = "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia";

// Dawn zeroes a buffer that is not filled by its first write. For weights that costs a seventh of the load on adapters whose memory is the
// machine's, so there the engine zeroes what is to be zero (Memory.create).
const UNZEROED = "disable-dawn-features=lazy_clear_resource_on_first_use";

/** The adapters' names; Dawn has no call for it, but lists them when asked for one that does not exist. */
async function namesOf(dawn: Dawn): Promise<string[]> {
  try {
    await dawn.create(["adapter=\u0001none"]).requestAdapter();
    return [];
  } catch (error) {
    const found = [...String((error as Error).message).matchAll(/backend: '([^']*)', name: '([^']*)'/g)];
    return found.filter(([, backend]) => backend !== "null").map(([, , name]) => name!); // the null backend computes nothing
  }
}

/** Whether the Vulkan loader that Dawn opens is installed. Dawn itself would print a warning with a stack trace if it is not. */
function hasVulkanLoader(): boolean {
  try {
    process.dlopen({ exports: {} }, "libvulkan.so.1");
  } catch (error) {
    return !/cannot open shared object file/.test(String(error)); // a library that is no Node module is loaded, then refused
  }
  return true;
}

const rank = (name: string): number => (/swiftshader/i.test(name) ? 2 : kindOf({ name }) === "cpu" ? 1 : 0);

let known: string[] | undefined;

async function adapterNames(dawn: Dawn, wanted: string | undefined): Promise<string[]> {
  const satisfied = (names: string[]) => names.some((name) => !wanted || name.toLowerCase().includes(wanted.toLowerCase()));
  if (process.platform === "linux" && !hasVulkanLoader()) await offerSwiftShader(true);
  let names = known ?? (await namesOf(dawn));
  if (!satisfied(names) && (await offerSwiftShader(false))) names = await namesOf(dawn);
  known = names;
  return [...new Set(names)].sort((a, b) => rank(a) - rank(b));
}

async function requestAdapter({ adapter: wanted, powerPreference, robustness = true }: AdapterRequest): Promise<NamedAdapter> {
  const text = wanted || process.env.INTERNVL_ADAPTER || undefined;
  const dawn = await loadDawn();
  const names = await adapterNames(dawn, text);
  const name = names.find((candidate) => !text || candidate.toLowerCase().includes(text.toLowerCase()));
  if (name === undefined) {
    const have = names.length ? `this machine has ${names.map((each) => JSON.stringify(each)).join(", ")}` : "this machine has none";
    throw new EngineError(
      "no-adapter",
      text ? `no WebGPU adapter's name contains ${JSON.stringify(text)}: ${have}` : "no WebGPU adapter found",
      {
        hint: "install a Vulkan driver (Debian: mesa-vulkan-drivers from bookworm-backports), or for Linux x64 without any: npm install @sparticuz/chromium@147.0.0 tar-fs",
      },
    );
  }
  // Without a wish and with real GPUs, Dawn's own order and the power preference decide among them.
  const free = !text && rank(name) === 0 && powerPreference !== undefined;
  const toggles = robustness ? TOGGLES : `${TOGGLES},disable_robustness`;
  const zeroes = kindOf({ name }) === "gpu";
  const options = [toggles, ...(zeroes ? [] : [UNZEROED]), ...(free ? [] : [`adapter=${name}`])];
  const gpu = instances.get(options.join()) ?? dawn.create(options);
  const adapter = await gpu.requestAdapter(powerPreference ? { powerPreference } : {});
  if (!adapter) {
    throw new EngineError("no-adapter", `the adapter ${JSON.stringify(name)} is listed but not given out`, {
      hint: "choose another with --adapter",
    });
  }
  instances.set(options.join(), gpu);
  return { adapter, name, zeroes };
}

async function listAdapters(): Promise<string[]> {
  const dawn = await loadDawn();
  return adapterNames(dawn, "swiftshader"); // asks for the bundled one too, so that the list is complete
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isDirectory() ?? false;
}

/** Respects the limit of a container (cgroups), which os.freemem does not know. */
function availableMemory(): number {
  const free = freemem();
  const constrained = process.availableMemory?.() ?? free; // Node 20.13 and newer
  return Math.min(free, constrained);
}

async function readFile(path: string): Promise<Uint8Array> {
  try {
    return await read(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : String((cause as Error).message);
    throw new EngineError("bad-input", `cannot read ${JSON.stringify(path)}: ${why}`, { hint: "check the path", cause });
  }
}

/** FileHandle.read aborts Node above 2 GiB and may return less than asked: callers ask for at most 64 MiB, and this loops until full. */
async function readFully(handle: FileHandle, name: string, offset: number, into: Uint8Array): Promise<void> {
  let filled = 0;
  while (filled < into.length) {
    const { bytesRead } = await handle.read(into, filled, into.length - filled, offset + filled);
    if (bytesRead === 0) {
      throw new EngineError("bad-weights", `${name}: the file ended at byte ${offset + filled}, ${into.length - filled} bytes short`, {
        hint: "the file is truncated: fetch it again",
      });
    }
    filled += bytesRead;
  }
}

async function openFile(folder: string, name: string): Promise<ByteSource | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(join(folder, name));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new EngineError("bad-weights", `cannot open ${join(folder, name)}: ${(cause as Error).message}`, {
      hint: "check the file's rights",
      cause,
    });
  }
  const { size } = await handle.stat();
  return {
    name,
    size,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      const bytes = new Uint8Array(length);
      await readFully(handle, name, offset, bytes);
      return bytes;
    },
    async readInto(offset, into, signal) {
      signal?.throwIfAborted();
      await readFully(handle, name, offset, into);
    },
    close: () => handle.close(),
  };
}

const env = (name: string): string | undefined => process.env[name] || undefined;

const caches = (): string => env("XDG_CACHE_HOME") ?? join(homedir(), ".cache");
const hubHome = (): string => env("HF_HOME") ?? join(caches(), "huggingface");

/** HF_TOKEN, or what `hf auth login` has stored. */
async function hubToken(): Promise<string | undefined> {
  const set = env("HF_TOKEN") ?? env("HUGGING_FACE_HUB_TOKEN");
  const stored = expandHome(env("HF_TOKEN_PATH") ?? join(hubHome(), "token"));
  return (set ?? (await read(stored, "utf8").catch(() => ""))).trim() || undefined; // no file is no token
}

/** The rules of huggingface_hub: HF_HUB_CACHE, or `hub` below HF_HOME, which is below XDG_CACHE_HOME or ~/.cache. */
function openStore(kind: "hub" | "urls", folder?: string): FileStore {
  const hub = env("HF_HUB_CACHE") ?? env("HUGGINGFACE_HUB_CACHE") ?? join(hubHome(), "hub");
  return nodeStore(expandHome(folder ?? (kind === "hub" ? hub : join(caches(), "internvl-webgpu"))), openFile);
}

export const platform: Platform = {
  requestAdapter,
  listAdapters,
  calmly,
  openFile,
  isFolder,
  availableMemory,
  pathOfUrl: fileURLToPath,
  env,
  hasSystem: true,
  seesEverything: true,
  hubToken,
  openStore,
  sha256: nodeSha256,
  readFile,
  pixelsOf: async () => undefined, // Node has none of the browser's image objects
  fileOf: async () => undefined,
  decodeNative: async () => {
    throw new EngineError("bad-input", 'Node has no image decoder of its own: decoder is "native", supported here: "js"');
  },
  portable: async (image) => ({ image, transfer: [] }),
};
