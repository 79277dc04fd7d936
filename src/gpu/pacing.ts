import { platform } from "#platform";
import type { AdapterKind } from "./adapter-kind.ts";

/** Makes a call into WebGPU that starts something to be awaited. */
export type Wait = <T>(start: () => T) => T;

/** How work of an adapter is awaited: one that computes on the CPU is not kept from it by asking again and again whether it is done. */
export const pacingOf = (kind: AdapterKind): Wait => (kind === "cpu" ? platform.paced : (start) => start());
