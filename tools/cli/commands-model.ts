import { type Command, Option } from "commander";
import {
  adapterOption,
  bound,
  collect,
  counted,
  generationFlags,
  ids,
  jsonOption,
  kvOption,
  loadingFlags,
  modelOption,
  port,
  precisionOption,
  readingFlags,
  revisionOption,
  seed,
  systemOption,
  webUrl,
  weightsOption,
  withDevices,
  withFlags,
} from "./flags.ts";
import { later } from "./later.ts";

// The commands that run a model: what each takes.

const MOST_TILES = 40; // a picture
const MOST_FRAMES = 1024;

/** Adds `internvl chat`. */
export function addChat(root: Command): void {
  const chat = root
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
      counted("--frames <count>", "how many frames to take of the video, evenly spaced (default: 8, of a folder all)", MOST_FRAMES),
    )
    .addOption(new Option("--bound <start:end>", "take them between these seconds of a video file").argParser(bound))
    .addOption(counted("--max-tiles <count>", "most tiles a picture", MOST_TILES))
    .addOption(systemOption())
    .option("--stats", "tell tokens and tokens a second of each answer, on stderr")
    .option("--draw <file.png>", "draw the boxes of the answer (<box>) on the picture and write it here")
    .option("--load <file>", "go on with the conversation in this file")
    .option("--save <file>", "keep the conversation in this file (JSON, with its pictures)");
  withFlags(chat, [...loadingFlags(), ...generationFlags(), ...readingFlags()]);
  withDevices(chat).action(later(async () => (await import("./chat.ts")).chat));
}

/** Adds `internvl batch`. */
export function addBatch(root: Command): void {
  const batch = root
    .command("batch")
    .description("answer the conversations of a JSON Lines file")
    .argument("<input>", 'one {"id", "turns", "images"?, "video"?, "maxTiles"?} a line, paths relative to the file; - is stdin')
    .option("-o, --out <file>", "write the answers here; what an earlier run has answered there is not asked again (default: stdout)")
    .option("--in-order", "in the order of the input; without it each answer is written when it is done")
    .addOption(modelOption())
    .addOption(revisionOption())
    .addOption(systemOption())
    .addOption(counted("--rows <count>", "conversations that are answered together, at most 8 (the default)"));
  withFlags(batch, [...loadingFlags(), ...generationFlags(), ...readingFlags()]);
  withDevices(batch).action(later(async () => (await import("./batch.ts")).batch));
}

/** Adds `internvl serve`. */
export function addServe(root: Command): void {
  const serve = root
    .command("serve")
    .description("answer over HTTP as OpenAI's API does: chat completions, completions, models, metrics")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--model-name <name>", "what clients call the model (default: org/name, or the folder's name)")
    .addOption(new Option("--port <number>", "0: any that is free").argParser(port).default(23333))
    .option("--host <address>", "where to listen; without --api-key keep it to this machine", "127.0.0.1")
    .addOption(new Option("--api-key <key>", "what clients have to bring").env("INTERNVL_API_KEY"))
    .addOption(counted("--slots <count>", "answers that are decoded together", 8).default(8))
    .option("--cors <origin>", "whose pages may ask, or *")
    .option("--allow-hosts <name...>", "answer under these names, too: what a proxy in front sends as Host")
    .option("--allow-images-from <host...>", "fetch pictures from these hosts (data URLs are always taken)")
    .option("--media-root <folder>", "take pictures below this folder, as file:NAME")
    .addOption(counted("--max-queue <count>", "answers that may wait (default: 256)"))
    .addOption(counted("--max-seconds <count>", "longest answer (default: 600)", 86_400))
    .option("--reload-on-loss", "load the model again when the GPU's device is lost")
    .addOption(
      new Option("--proxy-url <url>", "register with this `lmdeploy serve proxy`, and stay registered while the model is ready").argParser(
        webUrl,
      ),
    )
    .addOption(
      new Option("--public-url <url>", "how the proxy reaches this server (default: the address it listens on)").argParser(webUrl),
    );
  withDevices(withFlags(serve, loadingFlags())).action(later(async () => (await import("./serve.ts")).serve));
}

/** Adds `internvl bench`. */
export function addBench(root: Command): void {
  const bench = root
    .command("bench")
    .description("time loading, vision, prefill and decoding of a whole model against the adapter's ceilings")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--synthetic <config>", "a config.json instead of a model: its weights are made on the GPU")
    .addOption(counted("--layers <count>", "only so many layers of the synthetic decoder", 1024))
    .addOption(counted("--vision-layers <count>", "only so many layers of the synthetic vision tower", 1024))
    .addOption(new Option("--seed <number>", "of the synthetic weights").argParser(seed).default(0))
    .addOption(counted("--tiles <count>", "tiles of the vision phase", 1024).default(1))
    .addOption(counted("--prompt <count>", "tokens of the prefill", 2 ** 20).default(256))
    .addOption(new Option("--prompt-ids <ids>", "the prompt's ids, separated by commas, instead of made-up ones").argParser(ids))
    .addOption(counted("--tokens <count>", "tokens to decode", 2 ** 20).default(32))
    .addOption(
      new Option("--vs <library>", "also decode in turns with onnxruntime-node's webgpu provider, from the folder INTERNVL_ORT").choices([
        "ort",
      ]),
    );
  withFlags(bench, [weightsOption(), precisionOption(), kvOption(), adapterOption(), jsonOption()]);
  withDevices(bench).action(later(async () => (await import("./bench.ts")).bench));
}
