import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import type { Schema } from "../../src/api/format.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { type ChatOptions, type GenerationOptions, InternVL, type KvDtype, type LoadOptions } from "../../src/index.ts";
import { quoted } from "../../src/options.ts";
import type { WeightFormat } from "../../src/weights/formats.ts";
import { UsageError } from "./failures.ts";
import { interrupted } from "./interrupt.ts";
import { loadProgress } from "./progress.ts";
import { clearStatus, terminal } from "./status.ts";

type DeviceChoice = Pick<LoadOptions, "device" | "devices" | "split">;

export { status } from "./status.ts";

/** Fires at the first Ctrl-C; the second one ends the process. */
export const interruptSignal = (): AbortSignal => interrupted;

/** Flags of every command that loads a model. */
export interface ModelFlags {
  model?: string;
  revision?: string;
  adapter?: string;
  devices?: string[];
  split?: number[];
  lora?: string[];
  weights?: WeightFormat;
  precision?: Precision;
  kv?: "auto" | KvDtype;
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
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: Record<string, number>;
  seed?: number;
  stop?: string[];
  schema?: Schema;
  regex?: RegExp;
}

/** Flags of how pictures and questions are read. */
export interface ReadingFlags {
  maxPixels?: number;
  maxSide?: number;
  allowTruncated?: boolean;
  specialTokens?: "text" | "parse";
}

/** The flags that are generation options; one that was not given is left out. */
export function generationOptions(flags: GenerationFlags): GenerationOptions {
  const { maxTokens, temperature, topP, topK, minP, repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, seed, stop } = flags;
  const schema = flags.schema ?? flags.regex;
  const penalties = { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias };
  return { maxTokens, temperature, topP, topK, minP, ...penalties, seed, stop, schema };
}

/** The flags that are options of a chat or of a batch's item. */
export function readingOptions({ maxPixels, maxSide, allowTruncated, specialTokens }: ReadingFlags): Pick<ChatOptions, keyof ReadingFlags> {
  return { maxPixels, maxSide, allowTruncated, specialTokens };
}

/** The flags that choose one device or several. */
export const deviceOptions = ({ adapter, devices, split }: Pick<ModelFlags, "adapter" | "devices" | "split">): DeviceChoice =>
  devices ? { devices: devices.map((adapter) => ({ adapter })), split } : { device: { adapter } };

/** The model that comes with the program. */
export const NANO = fileURLToPath(new URL("../../../weights/nano", import.meta.url));

/** What people and clients call a model. */
export function modelName(model: string | undefined): string {
  if (model === undefined) return "nano";
  return /^[\w-]+\/[\w.-]+$/.test(model) ? model : basename(model);
}

/** Says that nobody has named a model: a newcomer would take the embedded one for the real thing. */
export function sayToy(model: string | undefined): void {
  if (model !== undefined) return;
  process.stderr.write(
    "no --model: the embedded toy model answers (it knows shapes, colours and digits); a real one: --model OpenGVLab/InternVL2_5-1B\n",
  );
}

/** Refuses flags that nothing would read. @throws UsageError */
export async function checkModelFlags({ model, revision, lora = [] }: Pick<ModelFlags, "model" | "revision" | "lora">): Promise<void> {
  if (lora.some((source) => source.trim() === "")) throw new UsageError("--lora is an empty text: give a folder, a URL or org/name");
  if (model !== undefined && model.trim() === "") throw new UsageError("--model is an empty text: give a folder, a URL or org/name");
  if (revision === undefined) return;
  const folder = model === undefined || (await stat(model).catch(() => undefined));
  if (folder) throw new UsageError(`--revision is of a model on Hugging Face, not of ${model ? `the folder ${quoted(model)}` : "nano"}`);
}

/** The flags that are options of a load. */
export function loadOptions(flags: ModelFlags): LoadOptions {
  const { weights, lora, precision, kv, maxContext, revision } = flags;
  return { ...deviceOptions(flags), weights, adapters: lora, precision, kv, maxContext, revision };
}

export async function loadModel(flags: ModelFlags, signal: AbortSignal): Promise<InternVL> {
  const vlm = await InternVL.load(flags.model ?? NANO, { ...loadOptions(flags), signal, onProgress: loadProgress(terminal) });
  clearStatus();
  sayToy(flags.model);
  return vlm;
}
