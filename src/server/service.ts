import { type InternVL, partsOf } from "../api/internvl.ts";
import type { Progress } from "../api/load.ts";
import type { Parts } from "../api/parts.ts";

/** A model that may not be there yet, or not any more. */
export interface Service {
  readonly vlm: InternVL | undefined;
  /** While it is loaded. */
  readonly progress?: Progress | undefined;
  /** Whether nothing new is to begin. */
  readonly stopping?: boolean | undefined;
}

/** Whether a server was given a service, which may have no model yet, instead of a model. */
export const isService = (given: object): given is Service => "vlm" in given;

/** What a service is up to: ready with its parts, or a word why not. */
export function stateOf({
  vlm,
  stopping,
}: Service): { parts: Parts } | { parts?: undefined; status: "loading" | "stopping" | "device lost" } {
  if (stopping) return { status: "stopping" };
  if (!vlm) return { status: "loading" };
  try {
    const parts = partsOf(vlm);
    for (const { memory } of parts.gpus) memory.assertAlive();
    return { parts };
  } catch {
    return { status: "device lost" }; // or disposed by its owner: nothing is there to answer
  }
}

/** Whether it answers. */
export const isReady = (service: Service): boolean => stateOf(service).parts !== undefined;
