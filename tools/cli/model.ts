import { fileURLToPath } from "node:url";
import { type GenerationOptions, InternVL, type LoadOptions } from "../../src/index.ts";
import type { WeightFormat } from "../../src/weights/checkpoint.ts";
import { loadProgress } from "./progress.ts";

/** Flags of every command that loads a model. */
export interface ModelFlags {
  model?: string;
  revision?: string;
  adapter?: string;
  weights?: WeightFormat;
  maxContext?: number;
  json?: boolean;
}

/** Flags of how an answer is generated. */
export interface GenerationFlags {
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  repetitionPenalty?: number;
  seed?: number;
  stop?: string[];
}

/** The flags that are generation options; one that was not given is left out. */
export function generationOptions(flags: GenerationFlags): GenerationOptions {
  const { maxTokens, temperature, topP, topK, minP, repetitionPenalty, seed, stop } = flags;
  return { maxTokens, temperature, topP, topK, minP, repetitionPenalty, seed, stop };
}

/** The model that comes with the program. */
export const NANO = fileURLToPath(new URL("../../../weights/nano", import.meta.url));

/** A line on stderr that replaces itself on a terminal; on a pipe nothing is written but the last state. */
export function status(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

/** Fires at the first Ctrl-C; the second one ends the process as usual. */
export function interruptSignal(): AbortSignal {
  const abort = new AbortController();
  process.once("SIGINT", () => abort.abort());
  return abort.signal;
}

export async function loadModel(flags: ModelFlags, signal: AbortSignal): Promise<InternVL> {
  const options: LoadOptions = {
    device: { adapter: flags.adapter },
    weights: flags.weights,
    maxContext: flags.maxContext,
    revision: flags.revision,
    signal,
    onProgress: loadProgress(process.stderr),
  };
  const vlm = await InternVL.load(flags.model ?? NANO, options);
  if (process.stderr.isTTY) status("");
  return vlm;
}
