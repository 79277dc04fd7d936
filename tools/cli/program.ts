import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { helpOf, UsageError } from "./failures.ts";
import {
  adapterOption,
  bound,
  checkDevices,
  collect,
  contextOption,
  count,
  formats,
  generationFlags,
  ids,
  jsonOption,
  kvOption,
  libraries,
  loraOption,
  modelOption,
  port,
  precisionOption,
  precisions,
  readingFlags,
  revisionOption,
  seed,
  shardOption,
  systemOption,
  upTo,
  webUrl,
  weightFormat,
  weightsOption,
  withDevices,
} from "./flags.ts";

const MOST_TILES = 40; // a picture
const MOST_FRAMES = 1024;

/** A message without the middle of what somebody gave by mistake: a whole file, say. */
function shortened(text: string): string {
  return text.length > 600 ? `${text.slice(0, 250)} … ${text.slice(-300)}` : text;
}

/** A command that is read when it runs: whoever asks for --help waits for no engine. */
const later =
  <A extends unknown[]>(load: () => Promise<(...args: A) => Promise<void>>) =>
  async (...args: A): Promise<void> => {
    (await import("./quiet.ts")).quietenDawn();
    const command = args.at(-1) as Command;
    try {
      checkDevices(command);
      await (await load())(...args);
    } catch (error) {
      if (error instanceof UsageError) error.command = nameOf(command);
      throw error;
    }
  };

/** `internvl kernels test`. */
const nameOf = (command: Command): string => (command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name());

/** As package.json says it, seen from dist/. */
function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string }).version;
}

/** The command line: what there is, and what each takes. */
export function program(version = ownVersion()): Command {
  const root = new Command("internvl")
    .description("InternVL 2.5 on WebGPU")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`${shortened(text).trim().replaceAll("\n", " ")} `) }) // where help is follows
    .showHelpAfterError(helpOf("internvl"));
  const chatCommand = root
    .command("chat")
    .description("answer a question about pictures; without a question: an interactive chat")
    .argument("[question]", "with an <image> for every picture, or without any: then they are put in front")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option(
      "--image <file>",
      'a picture: a path, an http(s) or data URL, a pattern ("dir/*.jpg"), or - for stdin; can be given several times',
      collect,
      [],
    )
    .option("--video <path>", "a video file (MP4, MOV, WebM; read with ffmpeg), or a folder of frames in the order of their names")
    .addOption(
      new Option("--frames <count>", "how many frames to take of the video, evenly spaced (default: 8, of a folder all)").argParser(
        upTo(MOST_FRAMES),
      ),
    )
    .addOption(new Option("--bound <start:end>", "take them between these seconds of a video file").argParser(bound))
    .addOption(new Option("--max-tiles <count>", "most tiles a picture").argParser(upTo(MOST_TILES)))
    .addOption(systemOption())
    .option("--stats", "tell tokens and tokens a second of each answer, on stderr")
    .option("--draw <file.png>", "draw the boxes of the answer (<box>) on the picture and write it here")
    .option("--load <file>", "go on with the conversation in this file")
    .option("--save <file>", "keep the conversation in this file (JSON, with its pictures)")
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(loraOption())
    .addOption(precisionOption())
    .addOption(kvOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./chat.ts")).chat));
  const batchCommand = root
    .command("batch")
    .description("answer the conversations of a JSON Lines file")
    .argument("<input>", 'one {"id", "turns", "images"?, "video"?, "maxTiles"?} a line, paths relative to the file; - is stdin')
    .option("-o, --out <file>", "write the answers here; what an earlier run has answered there is not asked again (default: stdout)")
    .option("--in-order", "in the order of the input; without it each answer is written when it is done")
    .addOption(modelOption())
    .addOption(revisionOption())
    .addOption(systemOption())
    .addOption(new Option("--rows <count>", "conversations that are answered together, at most 8 (the default)").argParser(count))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(loraOption())
    .addOption(precisionOption())
    .addOption(kvOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./batch.ts")).batch));
  for (const command of [chatCommand, batchCommand])
    for (const option of [...generationFlags(), ...readingFlags()]) command.addOption(option);
  const serveCommand = root
    .command("serve")
    .description("answer over HTTP as OpenAI's API does: chat completions, completions, models, metrics")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--model-name <name>", "what clients call the model (default: org/name, or the folder's name)")
    .addOption(new Option("--port <number>", "0: any that is free").argParser(port).default(23333))
    .option("--host <address>", "where to listen; without --api-key keep it to this machine", "127.0.0.1")
    .addOption(new Option("--api-key <key>", "what clients have to bring").env("INTERNVL_API_KEY"))
    .addOption(new Option("--slots <count>", "answers that are decoded together").argParser(upTo(8)).default(8))
    .option("--cors <origin>", "whose pages may ask, or *")
    .option("--allow-hosts <name...>", "answer under these names, too: what a proxy in front sends as Host")
    .option("--allow-images-from <host...>", "fetch pictures from these hosts (data URLs are always taken)")
    .option("--media-root <folder>", "take pictures below this folder, as file:NAME")
    .addOption(new Option("--max-queue <count>", "answers that may wait (default: 256)").argParser(count))
    .addOption(new Option("--max-seconds <count>", "longest answer (default: 600)").argParser(upTo(86_400)))
    .option("--reload-on-loss", "load the model again when the GPU's device is lost")
    .addOption(
      new Option("--proxy-url <url>", "register with this `lmdeploy serve proxy`, and stay registered while the model is ready").argParser(
        webUrl,
      ),
    )
    .addOption(new Option("--public-url <url>", "how the proxy reaches this server (default: the address it listens on)").argParser(webUrl))
    .addOption(contextOption())
    .addOption(weightsOption())
    .addOption(loraOption())
    .addOption(precisionOption())
    .addOption(kvOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./serve.ts")).serve));
  root
    .command("pull")
    .description("download a checkpoint into the cache, checked, and go on where an earlier download stopped")
    .argument("<source>", "org/name on Hugging Face, org/name@revision, or the URL of a folder")
    .addOption(revisionOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./cache.ts")).pull));
  root
    .command("list")
    .description("the checkpoints in the cache: sizes, revisions, and what is not whole")
    .addOption(jsonOption())
    .action(later(async () => (await import("./cache.ts")).list));
  root
    .command("rm")
    .description("delete checkpoints from the cache")
    .argument("<source...>", "as list names them")
    .option("-y, --yes", "do not ask")
    .addOption(jsonOption())
    .action(later(async () => (await import("./cache.ts")).remove));
  root
    .command("convert")
    .description("write a checkpoint's weights in another format, read them back and report bytes and error of every tensor")
    .requiredOption("--model <source>", "the checkpoint to convert: a folder, a URL or org/name")
    .addOption(revisionOption())
    .requiredOption("--out <folder>", "where the converted checkpoint goes; must not exist")
    .addOption(new Option("--to <format>", "the new format: q4, q8, f32, f16 or bf16").argParser(weightFormat).makeOptionMandatory())
    .addOption(
      new Option("--layout <layout>", "as transformers has it, or as OpenGVLab's code; for f32, f16 and bf16").choices(["hf", "upstream"]),
    )
    .addOption(loraOption())
    .addOption(shardOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./convert.ts")).convertCommand));
  root
    .command("inspect")
    .description("what a checkpoint holds, from config.json and the headers alone")
    .argument("<source>", "the checkpoint: a folder, a URL or org/name; nothing is downloaded but headers")
    .addOption(revisionOption())
    .option("--verify", "check every rule of the format, every byte, and that the tensors are those that config.json asks for")
    .addOption(new Option("--adapter <text>", "taken as by every command; nothing is computed on it here"))
    .addOption(jsonOption())
    .action(later(async () => (await import("./inspect.ts")).inspectCommand));
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
    .action(later(async () => (await import("./synth.ts")).synth));
  const benchCommand = root
    .command("bench")
    .description("time loading, vision, prefill and decoding of a whole model against the adapter's ceilings")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--synthetic <config>", "a config.json instead of a model: its weights are made on the GPU")
    .addOption(new Option("--layers <count>", "only so many layers of the synthetic decoder").argParser(upTo(1024)))
    .addOption(new Option("--vision-layers <count>", "only so many layers of the synthetic vision tower").argParser(upTo(1024)))
    .addOption(new Option("--seed <number>", "of the synthetic weights").argParser(seed).default(0))
    .addOption(new Option("--tiles <count>", "tiles of the vision phase").argParser(upTo(1024)).default(1))
    .addOption(new Option("--prompt <count>", "tokens of the prefill").argParser(upTo(2 ** 20)).default(256))
    .addOption(new Option("--prompt-ids <ids>", "the prompt's ids, separated by commas, instead of made-up ones").argParser(ids))
    .addOption(new Option("--tokens <count>", "tokens to decode").argParser(upTo(2 ** 20)).default(32))
    .addOption(
      new Option("--vs <library>", "also decode in turns with onnxruntime-node's webgpu provider, from the folder INTERNVL_ORT").choices([
        "ort",
      ]),
    )
    .addOption(weightsOption())
    .addOption(precisionOption())
    .addOption(kvOption())
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./bench.ts")).bench));
  for (const command of [chatCommand, batchCommand, serveCommand, benchCommand]) withDevices(command);
  root
    .command("doctor")
    .description("adapters, features and limits of this machine")
    .option("--verbose", "also what Dawn and the drivers say, which is kept from terminals otherwise")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./doctor.ts")).doctor));
  const kernels = root.command("kernels").description("the kernels by themselves");
  kernels
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
    .option("--out <prefix>", "also write PREFIX.json and PREFIX.md")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./kernels-bench.ts")).kernelsBench));
  kernels
    .command("test")
    .description("every kernel against its float64 twin, on every adapter of this machine")
    .option("--op <name>", "one op: matmul, matvec, attention_prefill, rope, …")
    .option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=gemm_tile")
    .option("--seed <number>", "of the random shapes and operands", seed, 1)
    .option("--cases <file>", "a module whose default export lists your own cases (defineKernelCase), instead of the engine's")
    .option("--quick", "without the cases that take a CPU adapter seconds each")
    .option("--no-robustness", "without the bounds checks that Dawn puts into shaders")
    .option("--out <prefix>", "also write PREFIX.json and PREFIX.md")
    .addOption(adapterOption())
    .addOption(jsonOption())
    .action(later(async () => (await import("./kernels-test.ts")).kernelsTest));
  kernels
    .command("compile")
    .description("what real GPUs' compilers make of kernels, without the GPUs: registers, spills, hot loops; held against limits")
    .addOption(
      new Option("--family <name>", "a GPU family, or all; can be given several times (default: navi31)")
        .argParser(collect)
        .default([], ""),
    )
    .addOption(
      new Option("--config <name>", "a model's own kernels: 1b, 4b or a config.json; can be given several times")
        .argParser(collect)
        .default([], ""),
    )
    .addOption(
      new Option("--weights <format>", "of the model; can be given several times (default: bf16, q8 and q4)")
        .argParser(formats)
        .default([], ""),
    )
    .addOption(
      new Option("--precision <kind>", "of the model's products; can be given several times (default: exact, auto and fast)")
        .argParser(precisions)
        .default([], ""),
    )
    .option(
      "--op <name>",
      "the harness's cases of one op: matmul, attention_prefill, rope, …; without --config and --wgsl all cases are compiled",
    )
    .option("--filter <text>", "part of a case's name, e.g. weights=q4 or variant=gemm_tile64")
    .addOption(
      new Option("--wgsl <file>", "a file of your own, each entry point; can be given several times").argParser(collect).default([], ""),
    )
    .addOption(new Option("--size <lanes>", "the subgroup size that its entry points are compiled at").argParser(upTo(128)))
    .addOption(new Option("--vs <library>", "ONNX Runtime's kernels too, from the folder INTERNVL_ORT").choices(["ort"]))
    .option("--isa <file>", "write the machine code there, as text")
    .option("--token", "with --config: also what a decoded token costs the CPU where the GPU takes no time: dispatches and CPU time")
    .option("--tighten", "compile everything, and let the exceptions in limits.json shrink to what is found")
    .addOption(jsonOption())
    .action(later(async () => (await import("./kernels-compile.ts")).kernelsCompile));
  for (const command of [...root.commands, ...kernels.commands]) command.showHelpAfterError(helpOf(nameOf(command)));
  return root;
}
