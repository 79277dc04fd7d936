import { EngineError, throwIfAborted } from "../errors.ts";
import { holdAnswer, type PrefillUsage, prefillPrompt } from "../generate/loop.ts";
import { Stepper, type Task } from "../generate/stepper.ts";
import type { Model } from "../model/internvl.ts";
import { following } from "./accept.ts";
import { Answer } from "./answer.ts";
import type { AcceptedItem } from "./asking.ts";
import type { GenerationOptions } from "./generation.ts";
import { light } from "./light.ts";
import type { Message } from "./messages.ts";
import type { Parts } from "./parts.ts";
import { type PromptOptions, preparePrompt } from "./prompt.ts";
import { doneOrAborted } from "./queue.ts";
import { asEngineError, type BatchAnswer, type BatchResult, type ChatResult } from "./reply.ts";

/** One request of a batch. */
export interface BatchItem extends Omit<PromptOptions, "signal">, GenerationOptions {
  /** A question; or a list, asked one after the other as a conversation, pictures belonging to the first; or messages. */
  prompt: string | readonly string[] | readonly Message[];
}

/** Generation options are those of items that have none of their own. */
export interface BatchOptions extends GenerationOptions {
  /** How many answers are generated together, at most 8 (the default); fewer where `kvBytes` has no room for them. */
  rows?: number | undefined;
  /** Bytes for the KV caches of the rows, 2 GiB by default or what one row needs; each row's has room for `maxContext` tokens. */
  kvBytes?: number | undefined;
  /** Tokens of prompt and answer of one item; the model's `maxContext` by default. Less makes room for more rows. */
  maxContext?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called for every item as it is done, in the order they are done; what it throws ends the batch. */
  onResult?: ((result: BatchResult, index: number) => void) | undefined;
}

/** The items of a batch: each is read when its turn comes, and what is wrong with it is its own failure. */
export interface BatchItems {
  count: number;
  /** @throws EngineError bad-input */
  read(index: number): AcceptedItem;
}

/** The options of a batch, read and checked. */
export type BatchSettings = Pick<BatchOptions, "rows" | "kvBytes" | "maxContext" | "signal" | "onResult">;

const MOST_ROWS = 8;
const KV_BYTES = 2 * 2 ** 30;
/** Decode steps that a batch takes before it lets others have their turn. */
const BURST = 8;

/** Whether a failure ends the whole batch, not only its item. */
const endsAll = ({ code }: EngineError, signal: AbortSignal): boolean =>
  ["device-lost", "disposed", "out-of-memory"].includes(code) || (code === "aborted" && signal.aborted);

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

  /** Tokens that a row has room for. */
  get context(): number {
    return this.#stepper.lanes.context;
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
async function converse(parts: () => Parts, rows: Rows, row: number, item: AcceptedItem, signal: AbortSignal): Promise<BatchAnswer> {
  const turns: ChatResult[] = [];
  let { ask } = item;
  for (const question of [ask.question.text, ...item.more]) {
    if (turns.length > 0) ask = following(ask, question, turns.at(-1)!.history);
    const { tokenizer, config, stopId, pictures: cache } = parts();
    const began = performance.now();
    const prepared = await preparePrompt(ask, { config, tokenizer, cache, signal, context: rows.context });
    turns.push(await rows.answer(row, new Answer(prepared, ask.generation, { tokenizer, stopId }, performance.now() - began, () => {})));
  }
  return { ...turns.at(-1)!, turns };
}

/** How many rows fit. @throws EngineError bad-input where not even one does */
function rowsFor(model: Model, { rows = MOST_ROWS, kvBytes, maxContext }: BatchSettings): { rows: number; context: number } {
  if (maxContext !== undefined && maxContext > model.maxContext) {
    throw new EngineError("bad-input", `maxContext is ${maxContext}, the model has room for ${model.maxContext} tokens`, {
      hint: "load with a larger maxContext",
    });
  }
  const context = maxContext ?? model.maxContext;
  const least = model.rowBytes(context);
  if (kvBytes !== undefined && kvBytes < least) {
    throw new EngineError("bad-input", `kvBytes is ${kvBytes}, one row of ${context} tokens needs ${least}`, {
      hint: "give at least that, or a smaller maxContext",
    });
  }
  return { rows: Math.min(rows, model.rowsIn(kvBytes ?? KV_BYTES, context)), context };
}

/** A callback of the caller's, which may be asynchronous: what goes wrong in it is told to `failed`. */
class Callback {
  readonly #call: BatchSettings["onResult"];
  readonly #failed: (error: unknown) => void;
  readonly #running = new Set<Promise<void>>();

  constructor(call: BatchSettings["onResult"], failed: (error: unknown) => void) {
    this.#call = call;
    this.#failed = failed;
  }

  run(result: BatchResult, index: number): void {
    try {
      const running: Promise<void> = Promise.resolve(this.#call?.(result, index))
        .catch(this.#failed)
        .finally(() => this.#running.delete(running));
      this.#running.add(running);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Waits for calls under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }
}

/** Answers all items through one decode loop. `parts` throws once the model is disposed. */
export async function runBatch(parts: () => Parts, items: BatchItems, settings: BatchSettings): Promise<BatchResult[]> {
  const { signal, onResult } = settings;
  const { model, gpu, queue } = parts();
  const { rows: most, context } = rowsFor(model, settings);
  const count = Math.min(most, items.count);
  throwIfAborted(signal);
  const results: BatchResult[] = [];
  if (count === 0) return results;

  // One failure that concerns all stops the other rows too.
  const abort = new AbortController();
  const relay = () => abort.abort(signal?.reason);
  signal?.addEventListener("abort", relay, { once: true });
  let fatal: { error: unknown } | undefined;
  let next = 0;
  const stop = (error: unknown) => {
    fatal ??= { error };
    abort.abort(error);
  };
  const callback = new Callback(onResult, stop);
  const answer = async (rows: Rows, row: number, index: number): Promise<void> => {
    try {
      const item = items.read(index);
      const result = await converse(parts, rows, row, item, abort.signal);
      if (!fatal) callback.run(result, index);
      results[index] = onResult ? light(result, item.ask) : result;
    } catch (thrown) {
      const error = asEngineError(thrown, abort.signal);
      if (endsAll(error, abort.signal)) return stop(error);
      results[index] = { error };
      if (!fatal) callback.run({ error }, index);
    }
  };
  const work = async (rows: Rows, row: number): Promise<void> => {
    while (next < items.count && !fatal) await answer(rows, row, next++);
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
    await doneOrAborted(callback.ended(), abort.signal); // an abort is the way out of a callback that never ends
    if (fatal) throw fatal.error;
    throwIfAborted(abort.signal);
    return results;
  } finally {
    signal?.removeEventListener("abort", relay);
    const leave = await queue.enter();
    stepper?.dispose();
    leave();
  }
}
