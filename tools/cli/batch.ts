import { createWriteStream, existsSync } from "node:fs";
import { readFile, truncate } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { EngineError } from "../../src/errors.ts";
import type { BatchItem, BatchResult } from "../../src/index.ts";
import { type GenerationFlags, generationOptions, interruptSignal, loadModel, type ModelFlags, status } from "./model.ts";

interface BatchFlags extends ModelFlags, GenerationFlags {
  out?: string;
  rows?: number;
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

/** A conversation as the library takes it. URLs stay as they are; a path is relative to the file that names it, or else to the working directory. */
function itemOf({ turns, images, video, maxTiles }: Conversation, folder: string): BatchItem {
  const located = (path: string): string =>
    /^(https?|data):/i.test(path)
      ? path
      : ([resolve(folder, path), resolve(path)].find((each) => existsSync(each)) ?? resolve(folder, path));
  return {
    prompt: turns,
    images: images?.map((entry) => (Array.isArray(entry) ? entry.map(located) : located(entry))),
    video: video?.map(located),
    maxTiles,
  };
}

function lineOf(id: string | number, result: BatchResult): object {
  if ("turns" in result)
    return { id, answers: result.turns.map(({ text }) => text), tokenIds: result.turns.map(({ tokenIds }) => tokenIds) };
  const { code, message, hint } = result.error;
  return { id, error: { code, message, ...(hint ? { hint } : {}) } };
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
  const vlm = await loadModel(flags, signal);
  try {
    // A line that cannot be read fails alone; the others go through one decode loop.
    const parsed = lines.slice(done).map(({ line, number }) => {
      try {
        const conversation = parseLine(line, number);
        return { id: conversation.id, item: itemOf(conversation, dirname(input)) };
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        return { id: number, error };
      }
    });
    const results = new Map<number, BatchResult>();
    for (const [i, { error }] of parsed.entries()) if (error) results.set(i, { error });
    const asked = [...parsed.keys()].filter((i) => !results.has(i));
    // Lines are written in the order of the input, each as soon as those before it are there: a later run can go on behind the last one.
    let written = 0;
    let writing = Promise.resolve();
    const flush = () => {
      for (let result = results.get(written); result; result = results.get(++written)) {
        const line = lineOf(parsed[written]!.id, result);
        writing = writing.then(() => write(line));
        writing.catch(() => {}); // told below, where it is awaited
      }
      status(`${done + written} of ${lines.length} conversations`);
    };
    flush();
    await vlm.batch(
      asked.map((i) => parsed[i]!.item!),
      {
        ...generationOptions(flags),
        rows: flags.rows,
        signal,
        onResult(result, index) {
          results.set(asked[index]!, result);
          flush();
        },
      },
    );
    await writing;
    if (process.stderr.isTTY) status("");
    const failed = [...results.values()].filter((result) => "error" in result).length;
    process.stderr.write(`${lines.length} conversations, ${done} of them done before, ${failed} failed\n`);
  } finally {
    if (process.stderr.isTTY) status("");
    if (flags.out) await new Promise<void>((fulfil) => out.end(fulfil));
    await vlm.dispose();
  }
}
