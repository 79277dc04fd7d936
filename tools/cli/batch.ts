import { EngineError } from "../../src/errors.ts";
import type { BatchItem, BatchResult, InternVL } from "../../src/index.ts";
import { described, quoted } from "../../src/options.ts";
import { type Input, openInput } from "./batch-input.ts";
import { type Asked, type Id, itemOf, keyOf, readLine } from "./batch-line.ts";
import { type Output, openOutput } from "./batch-output.ts";
import { withoutPixels } from "./failures.ts";
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
import { clearStatus, status } from "./status.ts";

interface BatchFlags extends ModelFlags, GenerationFlags, ReadingFlags {
  out?: string;
  rows?: number;
  inOrder?: boolean;
  system?: string;
}

/** How much is given to the library at once: many lines, so that one that takes long holds up nothing, but not all of a large file. */
const WINDOW_LINES = 4096;
const WINDOW_BYTES = 2 ** 24;

/** The lines of a batch as conversations; one whose id an earlier line has is refused, as the answers would be taken for one another's. */
async function* conversations(input: Input): AsyncGenerator<Asked & { bytes: number; again: boolean }> {
  const seen = new Map<string, number>();
  for await (const line of input.lines()) {
    const asked = readLine(line);
    const key = keyOf(asked.id);
    const bytes = line.end - line.begin;
    const before = seen.get(key);
    if (before === undefined) {
      seen.set(key, line.number);
      yield { ...asked, bytes, again: false };
      continue;
    }
    const { id, number } = asked;
    const error = new EngineError("bad-input", `line ${number}: its id ${described(asked.id)} is line ${before}'s already`, {
      hint: "give every line an id of its own",
    });
    yield { id, number, error, bytes, again: true };
  }
}

const otherInput = (path: string, why: string) =>
  new EngineError("bad-input", `${quoted(path)} was written for another input: ${why}`, {
    hint: "give another file for these answers; nothing was changed",
  });

/** Counts the lines and how many of them are answered. @throws EngineError bad-input where the answers are another input's */
async function compare(input: Input, { answered }: Output, path = ""): Promise<{ total: number; done: number; asks: number }> {
  const unknown = new Map(answered);
  let [total, done, asks] = [0, 0, 0];
  for await (const asked of conversations(input)) {
    total++;
    const row = asked.again ? undefined : answered.get(keyOf(asked.id));
    if (row) {
      const same = "hash" in asked && (row.hash === undefined ? row.answers === asked.conversation.turns.length : row.hash === asked.hash);
      if (!same) throw otherInput(path, `its row ${described(asked.id)} answers something else than line ${asked.number} asks`);
      unknown.delete(keyOf(asked.id));
      done++;
    } else if (!("error" in asked)) asks++;
  }
  for (const { id } of unknown.values()) throw otherInput(path, `no line has the id ${described(id)}, which is answered there`);
  return { total, done, asks };
}

function rowOf(id: Id, result: BatchResult, hash: string | undefined): object {
  if (!("turns" in result)) {
    const { code, message, hint } = result.error;
    return { id, error: { code, message, ...(hint ? { hint: withoutPixels(hint) } : {}) } };
  }
  const { turns } = result;
  return { id, answers: turns.map(({ text }) => text), tokenIds: turns.map(({ tokenIds }) => tokenIds), ...(hash ? { hash } : {}) };
}

/** Writes rows one after the other: as they come, or where `inOrder` each after those that were expected before it. */
class Rows {
  readonly #output: Output;
  readonly #inOrder: boolean;
  readonly #held = new Map<number, object>();
  #next = 0;
  #expected = 0;
  #writing: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();

  constructor(output: Output, inOrder: boolean) {
    this.#output = output;
    this.#inOrder = inOrder;
  }

  /** Fires when nothing can be written any more: nothing more needs to be answered then. */
  get failed(): AbortSignal {
    return this.#abort.signal;
  }

  expect(): number {
    return this.#expected++;
  }

  add(place: number, row: object): void {
    this.#held.set(place, row);
    if (!this.#inOrder) this.#next = place;
    for (let held = this.#held.get(this.#next); held; held = this.#held.get(++this.#next)) {
      this.#held.delete(this.#next);
      this.#write(held);
    }
  }

  /** Waits for all that was given. @throws EngineError where it could not be written */
  async done(): Promise<void> {
    await this.#writing;
  }

  #write(row: object): void {
    this.#writing = this.#writing.then(() => this.#output.write(row));
    this.#writing.catch((error) => this.#abort.abort(error)); // told by done()
  }
}

/** Answers what is not answered yet. Returns how many lines failed. */
async function answerAll(input: Input, output: Output, flags: BatchFlags, { total, done, asks }: Awaited<ReturnType<typeof compare>>) {
  const vlm: InternVL | undefined = asks > 0 ? await loadModel(flags, interrupted) : undefined;
  const sorts = flags.inOrder === true && flags.out !== undefined;
  const rows = new Rows(output, flags.inOrder === true && !sorts);
  let written = done;
  let failed = 0;
  const add = (place: number, id: Id, result: BatchResult, hash?: string) => {
    rows.add(place, rowOf(id, result, flags.out === undefined ? undefined : hash));
    if ("error" in result) failed++;
    status(`${++written} of ${total} conversations${failed ? `, ${failed} failed` : ""}`);
  };
  let window: { place: number; id: Id; hash: string; item: BatchItem }[] = [];
  let bytes = 0;
  const flush = async () => {
    const asked = window;
    window = [];
    bytes = 0;
    if (asked.length === 0) return;
    const options = {
      ...generationOptions(flags),
      rows: flags.rows,
      signal: AbortSignal.any([interrupted, rows.failed]),
      onResult: (result: BatchResult, index: number) => add(asked[index]!.place, asked[index]!.id, result, asked[index]!.hash),
    };
    const items = asked.map(({ item }) => item);
    await vlm!.batch(items, options);
  };
  try {
    await output.begin();
    for await (const asked of conversations(input)) {
      if (!asked.again && output.answered.has(keyOf(asked.id))) continue;
      const place = rows.expect();
      if ("error" in asked) {
        add(place, asked.id, { error: asked.error });
        continue;
      }
      window.push({
        place,
        id: asked.id,
        hash: asked.hash,
        item: { ...itemOf(asked.conversation, input.folder), ...readingOptions(flags), system: flags.system },
      });
      bytes += asked.bytes;
      if (window.length >= WINDOW_LINES || bytes >= WINDOW_BYTES) await flush();
    }
    await flush();
    await rows.done();
  } catch (error) {
    await rows.done(); // where that is what failed, its error is the one that is reported
    throw error;
  } finally {
    await vlm?.dispose();
  }
  if (sorts) {
    const keys = async function* () {
      for await (const { id } of conversations(input)) yield keyOf(id);
    };
    await output.sort(keys());
  }
  return failed;
}

/** `internvl batch`: answers the lines of a file, a row each. Exit code 1 where one of them failed. */
export async function batch(given: string, flags: BatchFlags): Promise<void> {
  await checkModelFlags(flags);
  const input = await openInput(given);
  let output: Output | undefined;
  try {
    output = await openOutput(flags.out, input.identity);
    const counts = await compare(input, output, flags.out);
    const failed = await answerAll(input, output, flags, counts);
    clearStatus();
    process.stderr.write(`${counts.total} conversations, ${counts.done} of them done before, ${failed} failed\n`);
    if (failed > 0) process.exitCode = 1;
  } catch (error) {
    if (!interrupted.aborted || flags.out === undefined) throw error;
    throw new EngineError("aborted", "the batch was stopped", { hint: "the same command goes on with what is missing", cause: error });
  } finally {
    await output?.close();
    await input.close();
  }
}
