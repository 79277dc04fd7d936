import type { ChatOptions, ChatReply } from "../../src/index.ts";
import { checkSave, loadConversation, saveConversation } from "./conversation.ts";
import { checkDraw, drawBoxes } from "./draw.ts";
import { UsageError } from "./failures.ts";
import { CONSOLE, converse } from "./interactive.ts";
import { interrupted } from "./interrupt.ts";
import {
  checkModelFlags,
  type GenerationFlags,
  generationOptions,
  loadModel,
  type ModelFlags,
  type ReadingFlags,
  readingOptions,
} from "./model.ts";
import { namedPictures, namedVideo } from "./pictures.ts";

interface ChatFlags extends ModelFlags, GenerationFlags, ReadingFlags {
  image: string[];
  video?: string;
  frames?: number;
  bound?: [start: number, end: number];
  maxTiles?: number;
  load?: string;
  save?: string;
  draw?: string;
}

async function print(reply: ChatReply): Promise<void> {
  let begun = false;
  try {
    for await (const piece of reply) {
      process.stdout.write(piece);
      begun = true;
    }
  } catch (error) {
    if (begun) process.stdout.write("\n"); // what is said of the error gets a line of its own
    throw error;
  }
  process.stdout.write("\n");
}

/** Reads everything that was named before the model is loaded: a wrong word must not cost minutes. */
async function optionsOf(flags: ChatFlags): Promise<ChatOptions> {
  await checkModelFlags(flags);
  const video = flags.video === undefined ? undefined : await namedVideo(flags.video, flags);
  const images = await namedPictures(flags.image, flags);
  const { maxTiles } = flags;
  return { images, video, maxTiles, ...readingOptions(flags), ...generationOptions(flags), signal: interrupted };
}

export async function chat(question: string | undefined, flags: ChatFlags): Promise<void> {
  if (question === undefined && flags.json) throw new UsageError("--json needs a question: an interactive chat has no JSON form");
  const piped = flags.image.filter((each) => each === "-").length;
  if (piped > 1) throw new UsageError("--image - can be given once: stdin holds one picture");
  if (piped > 0 && (question === undefined || process.stdin.isTTY))
    throw new UsageError(
      question === undefined
        ? "--image - needs a question: an interactive chat reads stdin itself"
        : "--image - needs a picture piped in: cat FILE | internvl chat --image - …",
    );
  if (flags.frames !== undefined && flags.video === undefined) throw new UsageError("--frames needs a --video to take them of");
  if (flags.bound !== undefined && flags.video === undefined) throw new UsageError("--bound needs a --video");
  const { load, save, draw } = flags;
  if (draw !== undefined && question === undefined) throw new UsageError("--draw needs a question: it draws what the answer points at");
  if (draw !== undefined) await checkDraw(draw);
  const history = load === undefined ? undefined : await loadConversation(load);
  if (save !== undefined) await checkSave(save);
  const options = await optionsOf(flags);
  const vlm = await loadModel(flags, interrupted);
  try {
    if (question === undefined) {
      const session = vlm.session({ history });
      const before = session.history;
      try {
        const failures = await converse(session, options, CONSOLE);
        if (failures > 0 && !process.stdin.isTTY) process.exitCode = 1;
      } finally {
        if (save !== undefined && session.history !== before) await saveConversation(save, session.history);
      }
      return;
    }
    const reply = vlm.chat(question, { ...options, history });
    if (!flags.json) await print(reply);
    const result = await reply;
    if (save !== undefined) await saveConversation(save, result.history);
    if (draw !== undefined)
      for (const line of await drawBoxes(draw, result.boxes, result.history, flags)) process.stderr.write(`${line}\n`);
    const { text, tokenIds, promptTokenIds, usage, timings, finishReason, seed, boxes } = result;
    if (flags.json)
      process.stdout.write(`${JSON.stringify({ text, tokenIds, promptTokenIds, usage, timings, finishReason, seed, boxes })}\n`);
  } finally {
    await vlm.dispose();
  }
}
