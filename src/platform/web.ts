import { EngineError, late } from "../errors.ts";
import { quoted } from "../options.ts";
import type { AdapterRequest, NamedAdapter, Platform } from "./platform.ts";
import { decodeNative, fileOf, pixelsOf, portable } from "./web-images.ts";
import { jpegDecoder, startModel } from "./web-scripts.ts";
import { startDecoder } from "./web-thread.ts";

async function requestAdapter({ adapter: wanted, powerPreference }: AdapterRequest): Promise<NamedAdapter> {
  if (!navigator.gpu) {
    throw new EngineError("no-webgpu", "this browser has no WebGPU (navigator.gpu is missing)", {
      hint: "use a current Chrome, Edge, Safari or Firefox, on a secure (https or localhost) page",
    });
  }
  const hint = "see the browser's page about its graphics for the reason: chrome://gpu, edge://gpu, about:support";
  let adapter: GPUAdapter | null;
  try {
    adapter = await navigator.gpu.requestAdapter({ powerPreference: powerPreference ?? "high-performance" });
  } catch (cause) {
    throw new EngineError("no-adapter", `this browser gives no WebGPU adapter: ${(cause as Error).message}`, { hint, cause });
  }
  // navigator.gpu can exist while there is no adapter behind it.
  if (!adapter) throw new EngineError("no-adapter", "this browser offers no WebGPU adapter", { hint });
  const { description, vendor, architecture, device } = adapter.info;
  const name = description || [vendor, architecture, device].filter(Boolean).join(" ");
  if (wanted && !name.toLowerCase().includes(wanted.toLowerCase())) {
    throw new EngineError("no-adapter", `the browser's adapter is ${JSON.stringify(name)}, asked was ${quoted(wanted)}`, {
      hint: "leave device.adapter out: a page cannot choose among adapters by name",
    });
  }
  return { adapter, name, zeroes: true };
}

function noFiles(path: string): never {
  throw new EngineError("bad-input", `a page cannot read the local path ${JSON.stringify(path)}`, {
    hint: "give a File, a Blob or a whole address: new URL(path, location.href)",
  });
}

export const platform: Platform = {
  requestAdapter,
  untilExit: () => {}, // a page's devices end with it
  listAdapters: async () => [(await requestAdapter({})).name],
  paced: (start) => start(),
  openFile: async (folder) => noFiles(folder),
  pathKind: async () => "nothing",
  availableMemory: () => undefined,
  get mobile() {
    const { userAgent, maxTouchPoints = 0 } = navigator;
    return /Android|iPhone|iPad|iPod/.test(userAgent) || (userAgent.includes("Macintosh") && maxTouchPoints > 1); // an iPad calls itself a Mac
  },
  pathOfUrl: (url) => noFiles(url),
  expandHome: (path) => path,
  env: () => undefined,
  hasSystem: false,
  seesEverything: false,
  hubToken: async () => undefined,
  openStore: async (kind, folder) =>
    (await late("the store for downloads", import("./web-store.ts"))).webStore(folder ?? `internvl-webgpu/${kind}`),
  readFile: async (path) => noFiles(path),
  pixelsOf,
  fileOf,
  decodeNative,
  openVideo: async (job) => (await late("what reads videos", import("./web-video.ts"))).openVideo(job),
  startDecoder,
  startModel,
  jpegDecoder,
  media: async () => noFiles("a server's media"),
  portable,
};
