import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { platform } from "#platform";
import { EngineError } from "../../src/errors.ts";
import type { ChatOptions, ChatReply, ChatResult, InternVL } from "../../src/index.ts";
import { sampleFrameIndices } from "../../src/media/video.ts";
import { type GenerationFlags, generationOptions, interruptSignal, loadModel, type ModelFlags, status } from "./model.ts";

interface ChatFlags extends ModelFlags, GenerationFlags {
  image: string[];
  video?: string;
  frames?: number;
  maxTiles?: number;
}

/** The frames of a folder, in the order of their names; `count` of them, evenly spaced. */
async function videoFrames(folder: string, count: number | undefined): Promise<string[]> {
  let names: string[];
  try {
    names = (await readdir(folder))
      .filter((name) => /\.(png|jpe?g)$/i.test(name))
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  } catch (cause) {
    throw new EngineError("bad-input", `${JSON.stringify(folder)} is no folder of frames`, {
      hint: "give a folder of PNG or JPEG files",
      cause,
    });
  }
  if (names.length === 0)
    throw new EngineError("bad-input", `${JSON.stringify(folder)} holds no PNG or JPEG file`, {
      hint: "extract the video's frames into it",
    });
  const picked = count === undefined ? names : sampleFrameIndices(names.length, count).map((index) => names[index]!);
  return picked.map((name) => join(folder, name));
}

async function print(reply: ChatReply): Promise<void> {
  for await (const piece of reply) process.stdout.write(piece);
  process.stdout.write("\n");
}

async function ask(vlm: InternVL, question: string, options: ChatOptions, json: boolean): Promise<ChatResult> {
  const reply = vlm.chat(question, options);
  if (!json) await print(reply);
  return await reply;
}

async function interactive(vlm: InternVL, options: ChatOptions): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const session = vlm.session();
  let { images, video, ...rest } = options;
  lines.setPrompt("> ");
  lines.prompt();
  for await (const line of lines) {
    if (line.trim()) {
      try {
        const reply = session.send(line, { ...rest, images, video });
        await print(reply);
        await reply;
        images = undefined; // the session holds them from now on
        video = undefined;
      } catch (error) {
        if (!(error instanceof EngineError) || error.code === "aborted" || error.code === "device-lost") throw error;
        process.stderr.write(`${error.code}: ${error.message}${error.hint ? ` (${error.hint})` : ""}\n`);
      }
    }
    lines.prompt();
  }
}

export async function chat(question: string | undefined, flags: ChatFlags): Promise<void> {
  const signal = interruptSignal();
  const video = flags.video === undefined ? undefined : await videoFrames(flags.video, flags.frames);
  for (const path of [...flags.image, ...(video ?? [])]) if (!/^(https?|data):/i.test(path)) await platform.readFile(path); // a wrong path is told before the model loads
  const vlm = await loadModel(flags, signal);
  try {
    const options: ChatOptions = { images: flags.image, video, maxTiles: flags.maxTiles, ...generationOptions(flags), signal };
    if (question === undefined) {
      if (flags.json) throw new EngineError("bad-input", "--json needs a question", { hint: "an interactive chat has no JSON form" });
      await interactive(vlm, options);
      return;
    }
    status("");
    const { text, tokenIds, promptTokenIds, usage, timings, finishReason, seed } = await ask(vlm, question, options, flags.json ?? false);
    if (flags.json) process.stdout.write(`${JSON.stringify({ text, tokenIds, promptTokenIds, usage, timings, finishReason, seed })}\n`);
  } finally {
    await vlm.dispose();
  }
}
