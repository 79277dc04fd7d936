import { EngineError, throwIfAborted } from "../errors.ts";
import { holdAnswer, type PrefillUsage, prefillPrompt } from "../generate/loop.ts";
import { Stepper, type Task } from "../generate/stepper.ts";
import { Answer } from "./answer.ts";
import { type GenerationOptions, generation, positive } from "./generation.ts";
import type { Parts } from "./parts.ts";
import { type PromptRequest, preparePrompt } from "./prompt.ts";
import type { ChatResult } from "./reply.ts";

/** One request of a batch. */
export interface BatchItem extends Omit<PromptRequest, "question" | "signal">, GenerationOptions {
  /** A question; or a list, asked one after the other as a conversation. Pictures belong to the first. */
  prompt: string | readonly string[];
}

/** The last answer of an item, and those of all its questions. */
export interface BatchAnswer extends ChatResult {
  turns: ChatResult[];
}

export interface BatchFailure {
  error: EngineError;
}

export type BatchResult = BatchAnswer | BatchFailure;

/** Generation options are those of items that have none of their own. */
export interface BatchOptions extends GenerationOptions {
  /** How many answers are generated together, at most 8 (the default); fewer where `kvBytes` has no room for them. */
  rows?: number | undefined;
  /** Bytes for the KV caches of the rows, 2 GiB by default; each row's has room for `maxContext` tokens. */
  kvBytes?: number | undefined;
  /** Tokens of prompt and answer of one item; the model's `maxContext` by default. Less makes room for more rows. */
  maxContext?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called for every item as it is done, in the order they are done. */
  onResult?: ((result: BatchResult, index: number) => void) | undefined;
}

const MOST_ROWS = 8;
const KV_BYTES = 2 * 2 ** 30;
/** Decode steps that a batch takes before it lets others have their turn. */
const BURST = 8;

/** What ends the whole batch, not one item. */
const FATAL = new Set(["aborted", "device-lost", "disposed", "out-of-memory"]);

/** A task whose end can be awaited. */
interface Ending extends Task {
  fail(error: unknown): void;
}

/** Rows that decode together: whoever is ready joins, whoever is done leaves. */
class Rows {
  readonly #parts: () => Parts;
  readonly #stepper: Stepper;
  readonly #signal: AbortSignal;
  readonly #endings = new Set<Ending>();
  #running = false;

  constructor(parts: () => Parts, stepper: Stepper, signal: AbortSignal) {
    this.#parts = parts;
    this.#stepper = stepper;
    this.#signal = signal;
  }

  /** Answers one question in a row of its own. */
  async answer(row: number, answer: Answer): Promise<ChatResult> {
    const { queue, model, imageContextId } = this.#parts();
    const leave = await queue.enter(this.#signal);
    let usage: PrefillUsage;
    let ended: Promise<void>;
    try {
      this.#parts(); // it may have been disposed meanwhile
      const request = answer.request(imageContextId, this.#signal);
      const { units, ...rest } = await prefillPrompt(model, this.#stepper, row, request);
      usage = rest;
      const position = request.inputIds.length;
      ended = this.#begin(row, units, position, Math.min(this.#stepper.lanes.context, position + request.maxTokens), answer);
    } finally {
      leave();
    }
    this.#pump();
    await ended;
    holdAnswer(this.#stepper, row, answer.tokenIds);
    return answer.finish(usage);
  }

  #begin(row: number, units: number, position: number, end: number, answer: Answer): Promise<void> {
    return new Promise((resolve, reject) => {
      const task: Ending = {
        position,
        end,
        finished: false,
        accept: (id) => {
          const last = answer.accept(id) || position + answer.tokenIds.length >= end;
          if (last) {
            this.#endings.delete(task);
            resolve();
          }
          return last;
        },
        fail: reject,
      };
      this.#endings.add(task);
      this.#stepper.begin(row, task, units);
    });
  }

  /** Decodes until no row is busy; between bursts others have their turn. */
  async #pump(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#stepper.active) {
        const leave = await this.#parts().queue.enter(this.#signal);
        try {
          this.#parts();
          for (let i = 0; i < BURST && this.#stepper.active; i++) {
            throwIfAborted(this.#signal);
            this.#stepper.fill();
            await this.#stepper.collect();
          }
        } finally {
          leave();
        }
      }
    } catch (error) {
      for (const task of this.#endings) task.fail(error);
      this.#endings.clear();
    } finally {
      this.#running = false;
    }
  }
}

/** Asks an item's questions in a row; a later question finds the earlier turns in the row's cache. */
async function converse(parts: () => Parts, rows: Rows, row: number, item: BatchItem, options: BatchOptions, signal: AbortSignal) {
  const prompt = (item as BatchItem | null | undefined)?.prompt;
  const questions = typeof prompt === "string" ? [prompt] : prompt;
  if (!Array.isArray(questions) || questions.length === 0 || questions.some((question) => typeof question !== "string"))
    throw new EngineError("bad-input", "an item of a batch needs a prompt: a text, or a list of texts");
  const { images, video, ...rest } = item;
  const turns: ChatResult[] = [];
  for (const question of questions) {
    const { tokenizer, config, stopId } = parts();
    const asked = generation({ ...options, ...defined(item) });
    const began = performance.now();
    const first = turns.length === 0 ? { images, video, history: item.history } : { history: turns.at(-1)!.history };
    const prepared = await preparePrompt({ ...rest, ...first, question, signal }, config, tokenizer);
    turns.push(await rows.answer(row, new Answer(prepared, asked, { tokenizer, stopId }, performance.now() - began, () => {})));
  }
  return { ...turns.at(-1)!, turns };
}

const defined = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Partial<T>;

/** Answers all items through one decode loop. `parts` throws once the model is disposed. */
export async function runBatch(parts: () => Parts, items: readonly BatchItem[], options: BatchOptions): Promise<BatchResult[]> {
  const { onResult } = options;
  generation(options); // wrong options for all are the caller's mistake, not the items'
  const { model, gpu, queue } = parts();
  const context = Math.min(positive("maxContext", options.maxContext ?? model.maxContext), model.maxContext);
  const room = model.rowsIn(positive("kvBytes", options.kvBytes ?? KV_BYTES), context);
  const count = Math.min(positive("rows", options.rows ?? MOST_ROWS), room, items.length);
  const results: BatchResult[] = [];
  if (count === 0) return results;

  // One failure that concerns all stops the other rows too.
  const abort = new AbortController();
  const relay = () => abort.abort(options.signal?.reason);
  if (options.signal?.aborted) relay();
  options.signal?.addEventListener("abort", relay, { once: true });
  let fatal: unknown;
  let next = 0;
  const stop = (error: unknown) => {
    fatal ??= error;
    abort.abort(error);
  };
  const answer = async (rows: Rows, row: number, item: BatchItem): Promise<BatchResult> => {
    try {
      return await converse(parts, rows, row, item, options, abort.signal);
    } catch (error) {
      if (!(error instanceof EngineError) || FATAL.has(error.code)) throw error;
      return { error };
    }
  };
  const work = async (rows: Rows, row: number): Promise<void> => {
    try {
      while (next < items.length && fatal === undefined) {
        const index = next++;
        results[index] = await answer(rows, row, items[index]!);
        onResult?.(results[index]!, index);
      }
    } catch (error) {
      stop(error);
    }
  };

  let stepper: Stepper | undefined;
  try {
    const leave = await queue.enter(abort.signal);
    try {
      parts();
      stepper = new Stepper(gpu, await model.openLanes(count, context));
    } finally {
      leave();
    }
    const rows = new Rows(parts, stepper, abort.signal);
    await Promise.all(Array.from({ length: count }, (_, row) => work(rows, row)));
    if (fatal !== undefined) throw fatal;
    return results;
  } finally {
    options.signal?.removeEventListener("abort", relay);
    const leave = await queue.enter();
    stepper?.dispose();
    leave();
  }
}
