import { EngineError } from "../errors.ts";
import { quoted } from "../options.ts";

const HINT = "see the browser's page about its graphics for the reason: chrome://gpu, edge://gpu, about:support";

/** The error of a browser without WebGPU. */
export const noWebGpu = (): EngineError =>
  new EngineError("no-webgpu", "this browser has no WebGPU (navigator.gpu is missing)", {
    hint: "use a current Chrome, Edge, Safari or Firefox, on a secure (https or localhost) page",
  });

/** The error of a browser that fails when it is asked for an adapter. */
export const notGiven = (cause: unknown): EngineError =>
  new EngineError("no-adapter", `this browser gives no WebGPU adapter: ${(cause as Error).message}`, { hint: HINT, cause });

/** The error of a browser that has WebGPU and no adapter. */
export const noneOffered = (): EngineError => new EngineError("no-adapter", "this browser offers no WebGPU adapter", { hint: HINT });

/** The error where the browser's adapter is not the one that was asked for. */
export const notThatOne = (name: string, wanted: string): EngineError =>
  new EngineError("no-adapter", `the browser's adapter is ${JSON.stringify(name)}, asked was ${quoted(wanted)}`, {
    hint: "leave device.adapter out: a page cannot choose among adapters by name",
  });
