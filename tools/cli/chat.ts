import { acceptChat } from "../../src/api/accept.ts";
import { prepareAsk } from "../../src/api/answer.ts";
import { partsOf } from "../../src/api/internvl.ts";
import { kindOf } from "../../src/gpu/adapter-kind.ts";
import type { ChatOptions, InternVL } from "../../src/index.ts";
import { Conversation, type Talk, withSystem } from "./chat-commands.ts";
import { checkSave, loadConversation, saveConversation } from "./conversation.ts";
import { checkDraw, drawBoxes } from "./draw.ts";
import { UsageError } from "./failures.ts";
import { inlinePicture, inlineProtocol } from "./inline-picture.ts";
import { converse, processConsole } from "./interactive.ts";
import { interrupted } from "./interrupt.ts";
import {
  checkModelFlags,
  type GenerationFlags,
  generationOptions,
  loadModel,
  type ModelFlags,
  modelName,
  type ReadingFlags,
  readingOptions,
} from "./model.ts";
import { checkPicture, namedPictures, namedVideo } from "./pictures.ts";
import { promptProgress } from "./progress.ts";
import { statsOf, writeReply } from "./reply.ts";
import { clearStatus, terminal } from "./status.ts";

interface ChatFlags extends ModelFlags, GenerationFlags, ReadingFlags {
  image: string[];
  video?: string;
  frames?: number;
  bound?: [start: number, end: number];
  maxTiles?: number;
  system?: string;
  load?: string;
  save?: string;
  draw?: string;
  stats?: boolean;
}

const talkOf = (vlm: InternVL, flags: ChatFlags, options: ChatOptions): Talk => ({
  image: (given) => checkPicture(given, flags),
  video: (given) => namedVideo(given, flags),
  async show(image) {
    const protocol = inlineProtocol(process.env, process.stdin.isTTY && process.stderr.isTTY);
    const shown = protocol && (await inlinePicture(image, protocol));
    if (shown) process.stderr.write(shown);
  },
  async count(conversation) {
    const parts = partsOf(vlm);
    const { signal: _, ...rest } = options;
    const { inputIds } = await prepareAsk(parts, acceptChat("", { ...rest, ...conversation }).ask, interrupted);
    const visual = inputIds.filter((id) => id === parts.imageContextId).length;
    return { tokens: inputIds.length, visual, context: parts.model.maxContext };
  },
});

function banner(vlm: InternVL, flags: ChatFlags): string {
  const slow = kindOf({ name: vlm.adapter }) === "cpu" ? ", a software adapter: slow" : "";
  const { maxContext } = partsOf(vlm).model;
  return `${modelName(flags.model)}, weights in ${vlm.weights}, ${maxContext} tokens of context
on ${vlm.adapter}${slow}
/help lists the commands; Ctrl-C ends an answer, Ctrl-D leaves
`;
}

async function interactively(vlm: InternVL, conversation: Conversation, options: ChatOptions, flags: ChatFlags): Promise<void> {
  const { images: _, video: __, ...rest } = options; // those come with the first question, as the conversation has them
  const talk = talkOf(vlm, flags, rest);
  if (process.stdin.isTTY && process.stderr.isTTY) {
    process.stderr.write(banner(vlm, flags));
    for (const image of options.images ?? []) await talk.show(image as string | Uint8Array);
  }
  try {
    const failures = await converse(vlm, conversation, talk, { ...rest, stats: flags.stats }, processConsole());
    if (failures > 0 && !process.stdin.isTTY) process.exitCode = 1;
  } finally {
    if (flags.save !== undefined && conversation.changed) await saveConversation(flags.save, conversation.messages);
  }
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
  if (flags.frames !== undefined && flags.video === undefined && question !== undefined)
    throw new UsageError("--frames needs a --video to take them of");
  if (flags.bound !== undefined && flags.video === undefined && question !== undefined) throw new UsageError("--bound needs a --video");
  if (flags.draw !== undefined && question === undefined)
    throw new UsageError("--draw needs a question: it draws what the answer points at");
  // All that was named is read before the model is loaded: a wrong word must not cost minutes.
  const { load, save, draw, maxTiles } = flags;
  if (draw !== undefined) await checkDraw(draw);
  const loaded = load === undefined ? [] : await loadConversation(load);
  if (save !== undefined) await checkSave(save);
  await checkModelFlags(flags);
  const video = flags.video === undefined ? undefined : await namedVideo(flags.video, flags);
  const images = await namedPictures(flags.image, flags);
  const options: ChatOptions = { images, video, maxTiles, ...readingOptions(flags), ...generationOptions(flags), signal: interrupted };

  const vlm = await loadModel(flags, interrupted);
  try {
    const history = flags.system === undefined ? loaded : withSystem(loaded, flags.system);
    if (question === undefined) return await interactively(vlm, new Conversation(history, { images, video }), options, flags);
    const reply = vlm.chat(question, { ...options, history, onProgress: promptProgress(terminal) });
    const result = await (flags.json ? reply : writeReply(reply, process.stdout));
    clearStatus();
    if (flags.stats) process.stderr.write(`${statsOf(result)}\n`);
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
