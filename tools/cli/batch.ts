import { createWriteStream, existsSync } from "node:fs";
import { readFile, truncate } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { EngineError } from "../../src/errors.ts";
import type { ChatResult, InternVL } from "../../src/index.ts";
import { interruptSignal, loadModel, type ModelFlags, status } from "./model.ts";

interface BatchFlags extends ModelFlags {
  out?: string;
}

interface Conversation {
  id: string | number;
  turns: string[];
  images?: (string | string[])[];
  video?: string[];
  maxTiles?: number;
}

function parseLine(text: string, number: number): Conversation {
  let value: Partial<Conversation>;
  try {
    value = JSON.parse(text) as Partial<Conversation>;
  } catch (cause) {
    throw new EngineError("bad-input", `line ${number} is no JSON: ${(cause as Error).message}`, { cause });
  }
  if (
    typeof value !== "object" ||
    value === null ||
    !Array.isArray(value.turns) ||
    value.turns.length === 0 ||
    value.turns.some((turn) => typeof turn !== "string")
  ) {
    throw new EngineError("bad-input", `line ${number} needs "turns", a list of questions`);
  }
  return { ...value, id: value.id ?? number } as Conversation;
}

/** What an earlier run has finished; a last line without its end is cut off. */
async function finishedLines(file: string): Promise<number> {
  if (!existsSync(file)) return 0;
  const bytes = await readFile(file);
  const end = bytes.lastIndexOf(10) + 1;
  if (end < bytes.length) await truncate(file, end);
  return bytes.subarray(0, end).toString("utf8").split("\n").length - 1;
}

async function converse(
  vlm: InternVL,
  { turns, images, video, maxTiles }: Conversation,
  folder: string,
  maxTokens: number | undefined,
  signal: AbortSignal,
) {
  // URLs stay as they are; a path is relative to the file that names it, or else to the working directory.
  const located = (path: string): string =>
    /^(https?|data):/i.test(path)
      ? path
      : ([resolve(folder, path), resolve(path)].find((each) => existsSync(each)) ?? resolve(folder, path));
  const first = {
    images: images?.map((entry) => (Array.isArray(entry) ? entry.map(located) : located(entry))),
    video: video?.map(located),
  };
  const answers: string[] = [];
  const tokenIds: number[][] = [];
  let history: ChatResult["history"] | undefined;
  for (const turn of turns) {
    const result = await vlm.chat(turn, { ...(history ? { history } : first), maxTiles, maxTokens, signal });
    answers.push(result.text);
    tokenIds.push(result.tokenIds);
    history = result.history;
  }
  return { answers, tokenIds };
}

export async function batch(input: string, flags: BatchFlags): Promise<void> {
  const signal = interruptSignal();
  let text: string;
  try {
    text = await readFile(input, "utf8");
  } catch (cause) {
    throw new EngineError("bad-input", `cannot read ${JSON.stringify(input)}: ${(cause as Error).message}`, {
      hint: "check the path",
      cause,
    });
  }
  const lines = text.split("\n").flatMap((line, i) => (line.trim() ? [{ line, number: i + 1 }] : []));
  const done = flags.out ? await finishedLines(flags.out) : 0;
  const out = flags.out ? createWriteStream(flags.out, { flags: "a" }) : process.stdout;
  const write = (value: object) =>
    new Promise<void>((fulfil, reject) => out.write(`${JSON.stringify(value)}\n`, (error) => (error ? reject(error) : fulfil())));
  let failed = 0;
  const vlm = await loadModel(flags, signal);
  try {
    for (const [i, { line, number }] of lines.entries()) {
      if (i < done) continue;
      status(`${i} of ${lines.length} conversations`);
      let id: string | number = number;
      try {
        const conversation = parseLine(line, number);
        id = conversation.id;
        await write({ id, ...(await converse(vlm, conversation, dirname(input), flags.maxTokens, signal)) });
      } catch (error) {
        // One bad line fails alone; what ends everything is passed on.
        if (!(error instanceof EngineError) || ["aborted", "device-lost", "out-of-memory"].includes(error.code)) throw error;
        failed++;
        await write({ id, error: { code: error.code, message: error.message, ...(error.hint ? { hint: error.hint } : {}) } });
      }
    }
  } finally {
    if (process.stderr.isTTY) status("");
    if (flags.out) await new Promise<void>((fulfil) => out.end(fulfil));
    await vlm.dispose();
  }
  process.stderr.write(`${lines.length} conversations, ${done} of them done before, ${failed} failed\n`);
}
