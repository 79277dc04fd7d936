import { EngineError, late } from "../errors.ts";
import type { AdapterRequest, NamedAdapter, Platform } from "./platform.ts";
import { fileOf, pixelsOf, portable } from "./web-images.ts";
import { jpegDecoder, startModel } from "./web-scripts.ts";
import { startDecoder } from "./web-thread.ts";

/** Why there is no adapter: comes where there is none. */
const refusals = () => late("what tells why there is no adapter", import("./web-no-adapter.ts"));

async function requestAdapter({ adapter: wanted, powerPreference }: AdapterRequest): Promise<NamedAdapter> {
  if (!navigator.gpu) throw (await refusals()).noWebGpu();
  const request = navigator.gpu.requestAdapter({ powerPreference: powerPreference ?? "high-performance" });
  const adapter = await request.catch(async (cause) => Promise.reject((await refusals()).notGiven(cause)));
  // navigator.gpu can exist while there is no adapter behind it.
  if (!adapter) throw (await refusals()).noneOffered();
  const { description, vendor, architecture, device } = adapter.info;
  const name = description || [vendor, architecture, device].filter(Boolean).join(" ");
  if (wanted && !name.toLowerCase().includes(wanted.toLowerCase())) throw (await refusals()).notThatOne(name, wanted);
  return { adapter, name, zeroes: true };
}

function noFiles(path: string): never {
  const hint = "give a File, a Blob or a whole address: new URL(path, location.href)";
  throw new EngineError("bad-input", `a page cannot read the local path ${JSON.stringify(path)}`, { hint });
}

/** What differs between Node and a page, in a page. */
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
  decodeNative: async (job) => (await late("what has the browser decode pictures", import("./web-decode.ts"))).decodeNative(job),
  openVideo: async (job) => (await late("what reads videos", import("./web-video.ts"))).openVideo(job),
  startDecoder,
  startModel,
  jpegDecoder,
  media: async () => noFiles("a server's media"),
  portable,
};
