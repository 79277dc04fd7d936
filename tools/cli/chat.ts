import type { ChatOptions, ChatReply } from "../../src/index.ts";
import { checkSave, loadConversation, saveConversation } from "./conversation.ts";
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
import { checkPicture, namedPictures, videoFrames } from "./pictures.ts";

interface ChatFlags extends ModelFlags, GenerationFlags, ReadingFlags {
  image: string[];
  video?: string;
  frames?: number;
  maxTiles?: number;
  load?: string;
  save?: string;
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
  const frames = flags.video === undefined ? undefined : await videoFrames(flags.video, flags.frames);
  const images = await namedPictures(flags.image, flags);
  for (const frame of new Set(frames)) await checkPicture(frame, flags);
  const { maxTiles } = flags;
  return { images, video: frames, maxTiles, ...readingOptions(flags), ...generationOptions(flags), signal: interrupted };
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
  const { load, save } = flags;
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
    const { text, tokenIds, promptTokenIds, usage, timings, finishReason, seed } = result;
    if (flags.json) process.stdout.write(`${JSON.stringify({ text, tokenIds, promptTokenIds, usage, timings, finishReason, seed })}\n`);
  } finally {
    await vlm.dispose();
  }
}
