#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { EngineError } from "../../src/errors.ts";
import { batch } from "./batch.ts";
import { chat } from "./chat.ts";
import { doctor } from "./doctor.ts";
import { kernelsBench } from "./kernels-bench.ts";

/** A positive whole number of a flag. */
function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

const collect = (value: string, before: string[]): string[] => [...before, value];

const modelOption = () => new Option("--model <folder>", "the checkpoint's folder (default: the embedded nano model)");
const adapterOption = () =>
  new Option("--adapter <text>", "part of an adapter's name: swiftshader, llvmpipe, nvidia, …").env("INTERNVL_ADAPTER");
const jsonOption = () => new Option("--json", "machine-readable output on stdout and nothing else there");
const contextOption = () => new Option("--max-context <tokens>", "tokens of prompt and answer together").argParser(count);
const weightsOption = () => new Option("--weights <format>", "how matrices are held on the GPU").choices(["auto", "f32"]).default("auto");

function program(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string };
  const root = new Command("internvl")
    .description("InternVL 2.5 on WebGPU")
    .version(version)
    .exitOverride()
    .showHelpAfterError("(internvl --help lists what there is)");
  root
    .command("chat")
    .description("answer a question about pictures; without a question: an interactive chat")
    .argument("[question]", "with an <image> for every picture, or without any: then they are put in front")
    .addOption(modelOption())
    .option("--image <file>", "a picture: PNG or JPEG, a path or an http(s) or data URL; can be given several times", collect, [])
    .option("--video <folder>", "a folder of frames (PNG or JPEG), in the order of their names")
    .addOption(new Option("--frames <count>", "how many frames to take of the video, evenly spaced").argParser(count))
    .addOption(new Option("--max-tiles <count>", "most tiles a picture").argParser(count))
    .addOption(new Option("--max-tokens <count>", "most new tokens (default: 1024)").argParser(count))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(chat);
  root
    .command("batch")
    .description("answer the conversations of a JSON Lines file")
    .argument("<input>", 'one {"id", "turns", "images"?, "video"?, "maxTiles"?} a line; paths are relative to the file')
    .option("-o, --out <file>", "write the answers here, and go on where an earlier run stopped (default: stdout)")
    .addOption(modelOption())
    .addOption(new Option("--max-tokens <count>", "most new tokens a turn (default: 1024)").argParser(count))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(batch);
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
      new Option("--vs <library>", "take turns with onnxruntime-node's webgpu provider, found in the folder INTERNVL_ORT").choices(["ort"]),
    )
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(kernelsBench);
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
