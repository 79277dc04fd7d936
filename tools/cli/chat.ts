import { acceptChat } from "../../src/api/accept.ts";
import { prepareAsk } from "../../src/api/answer.ts";
import { partsOf } from "../../src/api/internvl.ts";
import { kindOf } from "../../src/gpu/adapter-kind.ts";
import type { ChatOptions, InternVL } from "../../src/index.ts";
import { Conversation, type Talk, withSystem } from "./chat-commands.ts";
import { checkSave, loadConversation, saveConversation } from "./conversation.ts";
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
import { checkPicture, videoFrames } from "./pictures.ts";
import { promptProgress } from "./progress.ts";
import { statsOf, writeReply } from "./reply.ts";
import { clearStatus, terminal } from "./status.ts";

interface ChatFlags extends ModelFlags, GenerationFlags, ReadingFlags {
  image: string[];
  video?: string;
  frames?: number;
  maxTiles?: number;
  system?: string;
  load?: string;
  save?: string;
  stats?: boolean;
}

async function framesOf(given: string, flags: ChatFlags): Promise<string[]> {
  const frames = await videoFrames(given, flags.frames);
  for (const frame of new Set(frames)) await checkPicture(frame, flags);
  return frames;
}

const talkOf = (vlm: InternVL, flags: ChatFlags, options: ChatOptions): Talk => ({
  image: (given) => checkPicture(given, flags),
  video: (given) => framesOf(given, flags),
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
  const talk = talkOf(vlm, flags, options);
  if (process.stdin.isTTY && process.stderr.isTTY) {
    process.stderr.write(banner(vlm, flags));
    for (const image of options.images ?? []) await talk.show(image as string | Uint8Array);
  }
  const { images: _, video: __, ...rest } = options;
  try {
    const failures = await converse(vlm, conversation, talk, { ...rest, stats: flags.stats }, processConsole());
    if (failures > 0 && !process.stdin.isTTY) process.exitCode = 1;
  } finally {
    if (flags.save !== undefined && conversation.changed) await saveConversation(flags.save, conversation.messages);
  }
}

export async function chat(question: string | undefined, flags: ChatFlags): Promise<void> {
  if (question === undefined && flags.json) throw new UsageError("--json needs a question: an interactive chat has no JSON form");
  if (flags.frames !== undefined && flags.video === undefined && question !== undefined)
    throw new UsageError("--frames needs a --video to take them of");
  // All that was named is read before the model is loaded: a wrong word must not cost minutes.
  const { load, save, maxTiles } = flags;
  const loaded = load === undefined ? [] : await loadConversation(load);
  if (save !== undefined) await checkSave(save);
  await checkModelFlags(flags);
  const video = flags.video === undefined ? undefined : await framesOf(flags.video, flags);
  const images: (string | Uint8Array)[] = [];
  for (const given of flags.image) images.push(await checkPicture(given, flags));
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
    const { text, tokenIds, promptTokenIds, usage, timings, finishReason, seed } = result;
    if (flags.json) process.stdout.write(`${JSON.stringify({ text, tokenIds, promptTokenIds, usage, timings, finishReason, seed })}\n`);
  } finally {
    await vlm.dispose();
  }
}
