import { readFileSync } from "node:fs";
import { Command } from "commander";
import { addConvert, addInspect, addList, addPull, addRemove, addSynth } from "./commands-checkpoint.ts";
import { addKernelsBench, addKernelsCompile, addKernelsTest } from "./commands-kernels.ts";
import { addBatch, addBench, addChat, addServe } from "./commands-model.ts";
import { helpOf } from "./failures.ts";
import { adapterOption, jsonOption, withFlags } from "./flags.ts";
import { later, nameOf } from "./later.ts";

/** A message without the middle of what somebody gave by mistake: a whole file, say. */
function shortened(text: string): string {
  return text.length > 600 ? `${text.slice(0, 250)} … ${text.slice(-300)}` : text;
}

/** As package.json says it, seen from dist/. */
function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string }).version;
}

function addDoctor(root: Command): void {
  const doctor = root
    .command("doctor")
    .description("adapters, features and limits of this machine")
    .option("--verbose", "also what Dawn and the drivers say, which is kept from terminals otherwise");
  withFlags(doctor, [adapterOption(), jsonOption()]).action(later(async () => (await import("./doctor.ts")).doctor));
}

/** The command line: what there is, in the order of its help. What each command takes says the function that adds it. */
export function program(version = ownVersion()): Command {
  const root = new Command("internvl")
    .description("InternVL 2.5 on WebGPU")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${shortened(text).trim().replaceAll("\n", " ")} `) }) // where help is follows
    .showHelpAfterError(helpOf("internvl"));
  for (const add of [addChat, addBatch, addServe, addPull, addList, addRemove, addConvert, addInspect, addSynth, addBench, addDoctor])
    add(root);
  const kernels = root.command("kernels").description("the kernels by themselves");
  for (const add of [addKernelsBench, addKernelsTest, addKernelsCompile]) add(kernels);
  for (const command of [...root.commands, ...kernels.commands]) command.showHelpAfterError(helpOf(nameOf(command)));
  return root;
}
