import { type Command, Option } from "commander";
import { adapterOption, jsonOption, loraOption, revisionOption, seed, shardOption, weightFormat, withFlags } from "./flags.ts";
import { later } from "./later.ts";

// The commands about checkpoints, in the cache and in folders: what each takes.

/** Adds `internvl pull`. */
export function addPull(root: Command): void {
  const pull = root
    .command("pull")
    .description("download a checkpoint into the cache, checked, and go on where an earlier download stopped")
    .argument("<source>", "org/name on Hugging Face, org/name@revision, or the URL of a folder");
  withFlags(pull, [revisionOption(), jsonOption()]).action(later(async () => (await import("./cache.ts")).pull));
}

/** Adds `internvl list`. */
export function addList(root: Command): void {
  const list = root.command("list").description("the checkpoints in the cache: sizes, revisions, and what is not whole");
  list.addOption(jsonOption()).action(later(async () => (await import("./cache.ts")).list));
}

/** Adds `internvl rm`. */
export function addRemove(root: Command): void {
  const rm = root
    .command("rm")
    .description("delete checkpoints from the cache")
    .argument("<source...>", "as list names them")
    .option("-y, --yes", "do not ask");
  rm.addOption(jsonOption()).action(later(async () => (await import("./cache.ts")).remove));
}

/** Adds `internvl convert`. */
export function addConvert(root: Command): void {
  const convert = root
    .command("convert")
    .description("write a checkpoint's weights in another format, read them back and report bytes and error of every tensor")
    .requiredOption("--model <source>", "the checkpoint to convert: a folder, a URL or org/name")
    .addOption(revisionOption())
    .requiredOption("--out <folder>", "where the converted checkpoint goes; must not exist")
    .addOption(new Option("--to <format>", "the new format: q4, q8, f32, f16 or bf16").argParser(weightFormat).makeOptionMandatory())
    .addOption(
      new Option("--layout <layout>", "as transformers has it, or as OpenGVLab's code; for f32, f16 and bf16").choices(["hf", "upstream"]),
    );
  withFlags(convert, [loraOption(), shardOption(), adapterOption(), jsonOption()]);
  convert.action(later(async () => (await import("./convert.ts")).convertCommand));
}

/** Adds `internvl inspect`. */
export function addInspect(root: Command): void {
  const inspect = root
    .command("inspect")
    .description("what a checkpoint holds, from config.json and the headers alone")
    .argument("<source>", "the checkpoint: a folder, a URL or org/name; nothing is downloaded but headers")
    .addOption(revisionOption())
    .option("--verify", "check every rule of the format, every byte, and that the tensors are those that config.json asks for")
    .addOption(new Option("--adapter <text>", "taken as by every command; nothing is computed on it here"));
  inspect.addOption(jsonOption()).action(later(async () => (await import("./inspect.ts")).inspectCommand));
}

/** Adds `internvl synth`. */
export function addSynth(root: Command): void {
  const synth = root
    .command("synth")
    .description("write a full-size checkpoint of synthetic weights")
    .requiredOption("--config <file>", "the model's config.json")
    .requiredOption("--out <folder>", "where the checkpoint goes; must not exist")
    .addOption(new Option("--seed <number>", "another seed, other weights").argParser(seed).default(0))
    .option("--tokenizer <folder>", "tokenizer files to copy (default: those beside the config, where there are any)");
  withFlags(synth, [shardOption(), adapterOption(), jsonOption()]).action(later(async () => (await import("./synth.ts")).synth));
}
