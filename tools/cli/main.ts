#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { EngineError } from "../../src/errors.ts";
import { batch } from "./batch.ts";
import { bench } from "./bench.ts";
import { chat } from "./chat.ts";
import { convertCommand } from "./convert.ts";
import { doctor } from "./doctor.ts";
import { inspect } from "./inspect.ts";
import { kernelsBench, type Library } from "./kernels-bench.ts";
import { kernelsTest } from "./kernels-test.ts";
import { synth } from "./synth.ts";

/** A positive whole number of a flag. */
function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

/** A u32. */
function seed(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new InvalidArgumentError("It must be a whole number from 0 to 4294967295.");
  return value;
}

/** Token ids, separated by commas. */
function ids(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError("It must be whole numbers, separated by commas.");
  return text.split(",").map(Number);
}

/** Bytes, also as 5GB, 500MB, 2GiB. */
function size(text: string): number {
  const units: Record<string, number> = { "": 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 };
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMG]i?B)?$/i.exec(text) ?? [];
  const value = Number(number) * (units[(unit ?? "").toUpperCase()] ?? Number.NaN);
  if (!(value >= 1)) throw new InvalidArgumentError("It must be a number of bytes, such as 5GB.");
  return Math.floor(value);
}

/** Libraries to compare with, separated by commas. */
function libraries(text: string): Library[] {
  const known = ["ort", "jax"] as const;
  return text.split(",").map((name) => {
    const library = known.find((each) => each === name);
    if (!library) throw new InvalidArgumentError(`It must be some of ${known.join(",")}.`);
    return library;
  });
}

/** A number of a flag; whether it makes sense is said by the library. */
function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

const modelOption = () =>
  new Option("--model <source>", "the checkpoint: a folder, a URL, or org/name on Hugging Face (default: the embedded nano model)");
const revisionOption = () => new Option("--revision <name>", "branch, tag or commit of org/name (default: main)");
const adapterOption = () =>
  new Option("--adapter <text>", "part of an adapter's name: swiftshader, llvmpipe, nvidia, …").env("INTERNVL_ADAPTER");
const jsonOption = () => new Option("--json", "machine-readable output on stdout and nothing else there");
const contextOption = () => new Option("--max-context <tokens>", "tokens of prompt and answer together").argParser(count);
const shardOption = () => new Option("--shard-size <bytes>", "most bytes a file").argParser(size).default(5e9, "5GB");
const weightsOption = () =>
  new Option("--weights <format>", "how matrices are held on the GPU").choices(["auto", "bf16", "f16", "f32", "q8", "q4"]).default("auto");

/** Flags of how answers are generated. */
const generationFlags = (): Option[] => [
  new Option("--max-tokens <count>", "most new tokens an answer (default: 1024)").argParser(count),
  new Option("--temperature <number>", "0: greedy (the default); 1: as the model says").argParser(number),
  new Option("--top-p <number>", "draw among the most probable tokens that hold this share").argParser(number),
  new Option("--top-k <count>", "draw among so many most probable tokens").argParser(number),
  new Option("--min-p <number>", "draw among tokens at least this times as probable as the best").argParser(number),
  new Option("--repetition-penalty <number>", "above 1: makes tokens of the answer less probable again").argParser(number),
  new Option("--seed <number>", "the same seed gives the same answer on one adapter").argParser(number),
  new Option("--stop <text>", "end the answer before this text; can be given several times").argParser(collect),
];

function program(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string };
  const root = new Command("internvl")
    .description("InternVL 2.5 on WebGPU")
    .version(version)
    .exitOverride()
    .showHelpAfterError("(internvl --help lists what there is)");
  const chatCommand = root
    .command("chat")
    .description("answer a question about pictures; without a question: an interactive chat")
    .argument("[question]", "with an <image> for every picture, or without any: then they are put in front")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--image <file>", "a picture: PNG or JPEG, a path or an http(s) or data URL; can be given several times", collect, [])
    .option("--video <folder>", "a folder of frames (PNG or JPEG), in the order of their names")
    .addOption(new Option("--frames <count>", "how many frames to take of the video, evenly spaced").argParser(count))
    .addOption(new Option("--max-tiles <count>", "most tiles a picture").argParser(count))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(chat);
  const batchCommand = root
    .command("batch")
    .description("answer the conversations of a JSON Lines file")
    .argument("<input>", 'one {"id", "turns", "images"?, "video"?, "maxTiles"?} a line; paths are relative to the file')
    .option("-o, --out <file>", "write the answers here, and go on where an earlier run stopped (default: stdout)")
    .addOption(modelOption())
    .addOption(revisionOption())
    .addOption(new Option("--rows <count>", "conversations that are answered together, at most 8 (the default)").argParser(count))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(batch);
  for (const command of [chatCommand, batchCommand]) for (const option of generationFlags()) command.addOption(option);
  root
    .command("convert")
    .description("write a checkpoint's weights in another format, read them back and report bytes and error of every tensor")
    .requiredOption("--model <source>", "the checkpoint to convert: a folder, a URL or org/name")
    .addOption(revisionOption())
    .requiredOption("--out <folder>", "where the converted checkpoint goes; must not exist")
    .addOption(new Option("--to <format>", "the new format").choices(["q4", "q8", "f16", "bf16"]).makeOptionMandatory())
    .addOption(shardOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(convertCommand);
  root
    .command("inspect")
    .description("what a checkpoint holds, from config.json and the headers alone")
    .argument("<source>", "the checkpoint: a folder, a URL or org/name; nothing is downloaded but headers")
    .addOption(revisionOption())
    .option("--verify", "check every rule of the format, every byte, and that the tensors are those that config.json asks for")
    .addOption(jsonOption())
    .action(inspect);
  root
    .command("synth")
    .description("write a full-size checkpoint of synthetic weights")
    .requiredOption("--config <file>", "the model's config.json")
    .requiredOption("--out <folder>", "where the checkpoint goes; must not exist")
    .addOption(new Option("--seed <number>", "another seed, other weights").argParser(seed).default(0))
    .option("--tokenizer <folder>", "tokenizer files to copy (default: those beside the config, where there are any)")
    .addOption(shardOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(synth);
  root
    .command("bench")
    .description("time loading, vision, prefill and decoding of a whole model against the adapter's ceilings")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--synthetic <config>", "a config.json instead of a model: its weights are made on the GPU")
    .addOption(new Option("--seed <number>", "of the synthetic weights").argParser(seed).default(0))
    .addOption(new Option("--tiles <count>", "tiles of the vision phase").argParser(count).default(1))
    .addOption(new Option("--prompt <count>", "tokens of the prefill").argParser(count).default(256))
    .addOption(new Option("--prompt-ids <ids>", "the prompt's ids, separated by commas, instead of made-up ones").argParser(ids))
    .addOption(new Option("--tokens <count>", "tokens to decode").argParser(count).default(32))
    .addOption(
      new Option("--vs <library>", "also decode in turns with onnxruntime-node's webgpu provider, from the folder INTERNVL_ORT").choices([
        "ort",
      ]),
    )
    .addOption(weightsOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(bench);
  root
    .command("doctor")
    .description("adapters, features and limits of this machine")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(doctor);
  const kernels = root.command("kernels").description("the kernels by themselves");
  kernels
    .command("bench")
    .description("speed of every kernel against this adapter's ceilings, its output checked first")
    .addOption(new Option("--op <name>", "an op, or a word of its name: matmul, matvec, attention, decode, norm, …"))
    .addOption(new Option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=tiled"))
    .addOption(
      new Option(
        "--vs <libraries>",
        "take turns with others, e.g. ort,jax: onnxruntime-node's webgpu provider from the folder INTERNVL_ORT, @jax-js/jax from INTERNVL_JAX",
      ).argParser(libraries),
    )
    .option("--goals", "only the cases that have goals, each by the variant that the engine takes")
    .option("--autotune", "let the engine measure which variants it takes, and tell")
    .option("--out <prefix>", "also write PREFIX.json and PREFIX.md")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(kernelsBench);
  kernels
    .command("test")
    .description("every kernel against its float64 twin, on every adapter of this machine")
    .option("--op <name>", "one op: matmul, matvec, attention_prefill, rope, …")
    .option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=tiled")
    .option("--seed <number>", "of the random shapes and operands", seed, 1)
    .option("--cases <file>", "a module whose default export lists your own cases (defineKernelCase), instead of the engine's")
    .option("--quick", "without the cases that take a CPU adapter seconds each")
    .option("--no-robustness", "without the bounds checks that Dawn puts into shaders")
    .option("--out <prefix>", "also write PREFIX.json and PREFIX.md")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(kernelsTest);
  return root;
}

// Whoever read has had enough (`internvl inspect DIR | head`): no more is to be done, and nothing is wrong.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

try {
  await program().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2; // commander has said what is wrong
  } else if (error instanceof EngineError) {
    process.stderr.write(`internvl: ${error.code}: ${error.message.replaceAll("\n", " ")}${error.hint ? ` (${error.hint})` : ""}\n`);
    process.exitCode = 1;
  } else {
    throw error;
  }
}
