import { type Command, Option } from "commander";
import { adapterOption, collect, counted, formats, jsonOption, libraries, precisions, seed, withFlags } from "./flags.ts";
import { later } from "./later.ts";

// The commands below `internvl kernels`: what each takes.

/** Adds `internvl kernels bench`. */
export function addKernelsBench(kernels: Command): void {
  const bench = kernels
    .command("bench")
    .description("speed of every kernel against this adapter's ceilings, its output checked first")
    .addOption(new Option("--op <name>", "an op, or a word of its name: matmul, matvec, attention, decode, norm, …"))
    .addOption(new Option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=gemm_tile"))
    .addOption(
      new Option(
        "--vs <libraries>",
        "take turns with others, e.g. ort,jax: onnxruntime-node's webgpu provider from the folder INTERNVL_ORT, @jax-js/jax from INTERNVL_JAX",
      ).argParser(libraries),
    )
    .option("--goals", "only the cases that have goals, each by the variant that the engine takes")
    .option("--full", "also the cases that take a CPU adapter many seconds each")
    .option("--autotune", "let the engine measure which variants it takes, and tell")
    .option("--out <prefix>", "also write PREFIX.json and PREFIX.md");
  withFlags(bench, [adapterOption(), jsonOption()]).action(later(async () => (await import("./kernels-bench.ts")).kernelsBench));
}

/** Adds `internvl kernels test`. */
export function addKernelsTest(kernels: Command): void {
  const test = kernels
    .command("test")
    .description("every kernel against its float64 twin, on every adapter of this machine")
    .option("--op <name>", "one op: matmul, matvec, attention_prefill, rope, …")
    .option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=gemm_tile")
    .option("--seed <number>", "of the random shapes and operands", seed, 1)
    .option("--cases <file>", "a module whose default export lists your own cases (defineKernelCase), instead of the engine's")
    .option("--quick", "without the cases that take a CPU adapter seconds each")
    .option("--no-robustness", "without the bounds checks that Dawn puts into shaders")
    .option("--out <prefix>", "also write PREFIX.json and PREFIX.md");
  withFlags(test, [adapterOption(), jsonOption()]).action(later(async () => (await import("./kernels-test.ts")).kernelsTest));
}

/** An option of several values, none by default. */
const several = <T>(flag: string, description: string, read: (value: string, before: T[]) => T[]) =>
  new Option(flag, description).argParser(read).default([], "");

/** Adds `internvl kernels compile`. */
export function addKernelsCompile(kernels: Command): void {
  const compile = kernels
    .command("compile")
    .description("what real GPUs' compilers make of kernels, without the GPUs: registers, spills, hot loops; held against limits")
    .addOption(several("--family <name>", "a GPU family, or all; can be given several times (default: navi31)", collect))
    .addOption(several("--config <name>", "a model's own kernels: 1b, 4b or a config.json; can be given several times", collect))
    .addOption(several("--weights <format>", "of the model; can be given several times (default: bf16, q8 and q4)", formats))
    .addOption(
      several("--precision <kind>", "of the model's products; can be given several times (default: exact, auto and fast)", precisions),
    )
    .option(
      "--op <name>",
      "the harness's cases of one op: matmul, attention_prefill, rope, …; without --config and --wgsl all cases are compiled",
    )
    .option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=gemm_tile64")
    .addOption(several("--wgsl <file>", "a file of your own, each entry point; can be given several times", collect))
    .addOption(counted("--size <lanes>", "the subgroup size that its entry points are compiled at", 128))
    .addOption(new Option("--vs <library>", "ONNX Runtime's kernels too, from the folder INTERNVL_ORT").choices(["ort"]))
    .option("--isa <file>", "write the machine code there, as text")
    .option("--token", "with --config: also what a decoded token costs the CPU where the GPU takes no time: dispatches and CPU time")
    .option("--tighten", "compile everything, and let the exceptions in limits.json shrink to what is found");
  compile.addOption(jsonOption()).action(later(async () => (await import("./kernels-compile.ts")).kernelsCompile));
}
