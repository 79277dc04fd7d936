import { readFileSync, statSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Schema } from "../../src/api/format.ts";
import { GENERATION, type GenerationOptions } from "../../src/api/generation.ts";
import { EngineError } from "../../src/errors.ts";
import { NO_GGUF } from "../../src/gguf.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { quoted, readOptions } from "../../src/options.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";
import { grammarOf } from "../../src/text/grammar/schema.ts";
import { UsageError } from "./failures.ts";
import type { Library } from "./kernels-bench.ts";

/** A positive whole number that is no larger than `most`. */
const upTo =
  (most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isInteger(value) || value < 1) throw new InvalidArgumentError("It must be a positive whole number.");
    if (value > most) throw new InvalidArgumentError(`It must be at most ${most}.`);
    return value;
  };

/** An option that is a positive whole number, no larger than `most`. */
export const counted = (flag: string, description: string, most = Number.MAX_SAFE_INTEGER) =>
  new Option(flag, description).argParser(upTo(most));

/** The address of a server. */
export function webUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash || url.username)
    throw new InvalidArgumentError("It must be an http(s) URL, such as http://10.0.0.5:8000.");
  return text.replace(/\/+$/, "");
}

/** A port; 0 is any. */
export function port(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 65_535) throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
  return value;
}

/** From which second to which: `2:10`, `0.5:3`. */
export function bound(text: string): [start: number, end: number] {
  const [start, end, more] = text.split(":").map((part) => (/^\d+(\.\d+)?$/.test(part) ? Number(part) : Number.NaN));
  if (start === undefined || end === undefined || more !== undefined || !(start < end))
    throw new InvalidArgumentError("It must be two seconds, the smaller first: 2:10.");
  return [start, end];
}

/** A u32. */
export function seed(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new InvalidArgumentError("It must be a whole number from 0 to 4294967295.");
  return value;
}

/** Token ids, separated by commas. */
export function ids(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError("It must be whole numbers, separated by commas.");
  return text.split(",").map(Number);
}

/** Bytes, also as 5GB, 500MB, 2GiB. */
function size(text: string): number {
  const units: Record<string, number> = { "": 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 };
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([KMG]i?B)?$/i.exec(text) ?? [];
  const value = Number(digits) * (units[(unit ?? "").toUpperCase()] ?? Number.NaN);
  if (!(value >= 1)) throw new InvalidArgumentError("It must be a number of bytes, such as 5GB.");
  return Math.floor(value);
}

/** Libraries to compare with, separated by commas. */
export function libraries(text: string): Library[] {
  const known = ["ort", "jax"] as const;
  return text.split(",").map((name) => {
    const library = known.find((each) => each === name);
    if (!library) throw new InvalidArgumentError(`It must be some of ${known.join(",")}.`);
    return library;
  });
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

/** Lets the library say what is wrong with a value, before anything is loaded. */
function checked(options: GenerationOptions): void {
  try {
    const { schema } = readOptions("a flag", options, GENERATION);
    if (schema) grammarOf(schema);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new InvalidArgumentError(`${error.message.replace(/^\w+ is .*, needs/, "It must be")}.`);
  }
}

const generated =
  (name: keyof GenerationOptions) =>
  (text: string): number => {
    const value = number(text);
    checked({ [name]: value });
    return value;
  };

function stop(text: string, before: string[] = []): string[] {
  checked({ stop: [...before, text] });
  return [...before, text];
}

/** A token's id and its bias. */
function bias(text: string, before: Record<string, number> = {}): Record<string, number> {
  const [id, value] = text.split(":");
  const biases = { ...before, [id!]: number(value ?? "") };
  checked({ logitBias: biases });
  return biases;
}

const MOST_SCHEMA = 2 ** 20; // bytes of a file

/** A JSON Schema, written out or in a file. */
function schemaOf(text: string): Schema {
  let json = text;
  if (!/^\s*\{/.test(text)) {
    try {
      const found = statSync(text);
      if (found.isFIFO() && !/^\/(dev|proc)\//.test(text)) throw new Error("it is a pipe"); // which could hold this up for ever
      if (found.size > MOST_SCHEMA) throw new Error(`it has more than ${MOST_SCHEMA} bytes`);
      json = readFileSync(text, "utf8");
    } catch (error) {
      throw new InvalidArgumentError(`It must be a JSON Schema, {…}, or a file with one: ${(error as Error).message}.`);
    }
  }
  let schema: Schema;
  try {
    schema = JSON.parse(json);
  } catch (error) {
    throw new InvalidArgumentError(`It is not JSON: ${(error as Error).message}.`);
  }
  checked({ schema });
  return schema;
}

/** A regular expression that all of an answer matches. */
function expression(source: string): RegExp {
  let read: RegExp;
  try {
    read = new RegExp(source, "u");
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
  checked({ schema: read });
  return read;
}

/** The name of a revision: what Git takes and an address can carry. */
export function revision(text: string): string {
  const good = /^[\w][\w.-]*(\/[\w][\w.-]*)*$/.test(text) && !text.includes("..");
  if (!good || text.length > 255) throw new InvalidArgumentError(`${quoted(text)} is not a branch, tag or commit.`);
  return text;
}

export const collect = (value: string, before: string[] = []): string[] => [...before, value];

const FORMATS = ["bf16", "f16", "f32", "q8", "q4"] as const;

/** A weight format. */
export function weightFormat(text: string): MatrixDtype {
  const format = FORMATS.find((each) => each === text);
  if (!format) throw new InvalidArgumentError(`Allowed choices are ${FORMATS.join(", ")}.${/^gguf$/i.test(text) ? ` ${NO_GGUF}.` : ""}`);
  return format;
}
/** Reads one of some words, of several that can be given. */
const among =
  <T extends string>(...known: readonly T[]) =>
  (text: string, before: T[] = []): T[] => {
    const found = known.find((each) => each === text);
    if (!found) throw new InvalidArgumentError(`Allowed choices are ${known.join(", ")}.`);
    return [...before, found];
  };
export const formats = among<MatrixDtype>(...FORMATS);
export const precisions = among<Precision>("exact", "auto", "fast");

export const modelOption = () =>
  new Option("--model <source>", "the checkpoint: a folder, a URL, or org/name on Hugging Face (default: the embedded nano model)");
export const revisionOption = () =>
  new Option("--revision <name>", "branch, tag or commit of org/name (default: main)").argParser(revision);
export const adapterOption = () =>
  new Option("--adapter <text>", "part of an adapter's name: swiftshader, llvmpipe, nvidia, …").env("INTERNVL_ADAPTER");

/** Texts, separated by commas. */
function texts(value: string): string[] {
  const all = value.split(",").map((each) => each.trim());
  if (all.includes("")) throw new InvalidArgumentError("It must be parts of adapters' names, separated by commas.");
  return all;
}

/** Numbers above 0, separated by commas. */
function shares(text: string): number[] {
  const all = text.split(",").map(number);
  if (all.some((each) => each <= 0)) throw new InvalidArgumentError("It must be numbers above 0, separated by commas.");
  return all;
}

/** Gives a command some flags, in this order in its help. */
export function withFlags(command: Command, flags: readonly Option[]): Command {
  for (const flag of flags) command.addOption(flag);
  return command;
}

/** Gives a command the flags of several devices. */
export const withDevices = (command: Command): Command =>
  withFlags(command, [
    new Option("--devices <texts>", "in place of --adapter: split the decoder's layers over these adapters, e.g. nvidia,amd").argParser(
      texts,
    ),
    new Option("--split <numbers>", "the memory of each of --devices, in any unit, e.g. 8,24 (default: equal)").argParser(shares),
  ]);

/** @throws UsageError where a command's flags of several devices do not go together */
export function checkDevices(command: Command): void {
  const { devices, split } = command.opts<{ devices?: string[]; split?: number[] }>();
  if (devices && command.getOptionValueSource("adapter") === "cli") throw new UsageError("--devices is in place of --adapter");
  if (split && split.length !== (devices?.length ?? 0)) throw new UsageError("--split needs a number for each of --devices");
}
// --adapter names the GPU's adapter, in every command.
export const loraOption = () =>
  new Option(
    "--lora <source>",
    "a LoRA adapter to merge into the model: a folder that peft saved, a URL or org/name; can be given several times",
  ).argParser((value: string, before: string[] = []) => collect(value, before));
export const jsonOption = () => new Option("--json", "machine-readable output on stdout and nothing else there");
export const contextOption = () => counted("--max-context <tokens>", "tokens of prompt and answer together");
export const shardOption = () => new Option("--shard-size <bytes>", "most bytes a file").argParser(size).default(5e9, "5GB");
export const weightsOption = () =>
  new Option("--weights <format>", "how matrices are held on the GPU").choices(["auto", "bf16", "f16", "f32", "q8", "q4"]).default("auto");
export const kvOption = () =>
  new Option("--kv <format>", "how keys and values are held between steps (auto: f16)").choices(["auto", "f16", "f32"]).default("auto");
export const systemOption = () => new Option("--system <text>", "replaces the model's system message");
export const precisionOption = () =>
  new Option("--precision <kind>", "what products may do to their operands: nothing, f16 where it is safe, or 8 bits besides")
    .choices(["exact", "auto", "fast"])
    .default("auto");

/** Flags of how a model is loaded. */
export const loadingFlags = (): Option[] => [
  contextOption(),
  weightsOption(),
  loraOption(),
  precisionOption(),
  kvOption(),
  adapterOption(),
  jsonOption(),
];

/** Flags of how answers are generated. */
export const generationFlags = (): Option[] => [
  counted("--max-tokens <count>", "most new tokens an answer (default: 1024)"),
  new Option("--temperature <number>", "0: greedy (the default); 1: as the model says").argParser(generated("temperature")),
  new Option("--top-p <number>", "draw among the most probable tokens that hold this share").argParser(generated("topP")),
  new Option("--top-k <count>", "draw among this many of the most probable tokens").argParser(generated("topK")),
  new Option("--min-p <number>", "draw among tokens at least this times as probable as the best").argParser(generated("minP")),
  new Option("--repetition-penalty <number>", "above 1: makes tokens of the answer less probable again").argParser(
    generated("repetitionPenalty"),
  ),
  new Option("--presence-penalty <number>", "-2 to 2: taken from tokens that the answer has").argParser(generated("presencePenalty")),
  new Option("--frequency-penalty <number>", "-2 to 2: taken from a token as often as the answer has it").argParser(
    generated("frequencyPenalty"),
  ),
  new Option("--logit-bias <id:number>", "added to a token's logit, -100 to 100; can be given several times").argParser(bias),
  new Option("--seed <number>", "the same seed gives the same answer on one adapter").argParser(generated("seed")),
  new Option("--schema <json>", "hold the answer to a JSON Schema, or a file with one").argParser(schemaOf).conflicts("regex"),
  new Option("--regex <expression>", "hold the answer to a regular expression, all of it").argParser(expression),
  new Option("--stop <text>", "end the answer before this text; can be given several times").argParser(stop),
];

/** Flags of how pictures and questions are read. */
export const readingFlags = (): Option[] => [
  counted("--max-pixels <count>", "most pixels a picture"),
  counted("--max-side <count>", "most pixels along a picture's side"),
  new Option("--allow-truncated", "take pictures whose end is missing, grey where nothing is known"),
  new Option("--special-tokens <how>", "what <|im_end|>, <img> and the like are in a question: text, or parsed as upstream does").choices([
    "text",
    "parse",
  ]),
];
