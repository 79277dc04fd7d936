#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { EngineError } from "../../src/errors.ts";
import { batch } from "./batch.ts";
import { chat } from "./chat.ts";
import { doctor } from "./doctor.ts";

/** A positive whole number of a flag. */
function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

/** A number of a flag; whether it makes sense is said by the library. */
function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

const modelOption = () => new Option("--model <folder>", "the checkpoint's folder (default: the embedded nano model)");
const adapterOption = () =>
  new Option("--adapter <text>", "part of an adapter's name: swiftshader, llvmpipe, nvidia, …").env("INTERNVL_ADAPTER");
const jsonOption = () => new Option("--json", "machine-readable output on stdout and nothing else there");
const contextOption = () => new Option("--max-context <tokens>", "tokens of prompt and answer together").argParser(count);
const weightsOption = () => new Option("--weights <format>", "how matrices are held on the GPU").choices(["auto", "f32"]).default("auto");

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
    .addOption(new Option("--rows <count>", "conversations that are answered together, at most 8 (the default)").argParser(count))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(batch);
  for (const command of [chatCommand, batchCommand]) for (const option of generationFlags()) command.addOption(option);
  root
    .command("doctor")
    .description("adapters, features and limits of this machine")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(doctor);
  return root;
}

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
