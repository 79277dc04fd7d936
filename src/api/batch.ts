import { abortedBy, EngineError, throwIfAborted } from "../errors.ts";
import type { Model } from "../model/internvl.ts";
import { doneOrAborted } from "./aborting.ts";
import { following } from "./accept-item.ts";
import { answerWith } from "./answer.ts";
import type { AcceptedItem } from "./asking.ts";
import type { GenerationOptions } from "./generation.ts";
import { light } from "./light.ts";
import type { Message } from "./messages.ts";
import type { Parts } from "./parts.ts";
import type { PromptOptions } from "./prompt.ts";
import { asEngineError, type BatchAnswer, type BatchResult, type ChatResult } from "./reply.ts";

/** One request of a batch. */
export interface BatchItem extends Omit<PromptOptions, "signal" | "onProgress">, GenerationOptions {
  /** A question; or a list, asked one after the other as a conversation, pictures belonging to the first; or messages. */
  prompt: string | readonly string[] | readonly Message[];
}

/** Generation options are those of items that have none of their own. */
export interface BatchOptions extends GenerationOptions {
  /** How many items are under way at once, at most as many as the model has slots (the default); fewer where `kvBytes` has no room for them. */
  rows?: number | undefined;
  /** Bytes for the KV caches of the rows, which are slots of the model: each takes what the model's `maxContext` needs. */
  kvBytes?: number | undefined;
  /** Tokens of prompt and answer of one item; the model's `maxContext` by default. */
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

/** Whether a failure ends the whole batch, not only its item. */
const endsAll = ({ code }: EngineError, signal: AbortSignal): boolean =>
  ["device-lost", "disposed", "out-of-memory"].includes(code) || (code === "aborted" && signal.aborted);

/** Asks an item's questions one after the other; a later question finds the earlier turns in a slot's cache. */
async function converse(parts: Parts, item: AcceptedItem, signal: AbortSignal, maxContext: number): Promise<BatchAnswer> {
  const turns: ChatResult[] = [];
  let { ask } = item;
  for (const question of [ask.question.text, ...item.more]) {
    if (turns.length > 0) ask = following(ask, question, turns.at(-1)!.history);
    turns.push(await answerWith(parts, ask, signal, () => {}, { maxContext }));
  }
  return { ...turns.at(-1)!, turns };
}

/** How many rows fit. @throws EngineError bad-input where not even one does */
function rowsFor(
  model: Model,
  { rows = Number.POSITIVE_INFINITY, kvBytes = Number.POSITIVE_INFINITY, maxContext }: BatchSettings,
): { rows: number; context: number } {
  if (maxContext !== undefined && maxContext > model.maxContext) {
    const hint = "load with a larger maxContext";
    throw new EngineError("bad-input", `maxContext is ${maxContext}, the model has room for ${model.maxContext} tokens`, { hint });
  }
  const context = maxContext ?? model.maxContext;
  const least = model.slotBytes(context);
  if (kvBytes < least) {
    const hint = "give at least that, or a smaller maxContext";
    throw new EngineError("bad-input", `kvBytes is ${kvBytes}, one row of ${context} tokens needs ${least}`, { hint });
  }
  return { rows: Math.min(rows, model.slotsIn(kvBytes, model.maxContext)), context };
}

/** Answers all items, as many at a time as there are rows. @throws EngineError what concerns all items */
export async function runBatch(parts: Parts, items: BatchItems, settings: BatchSettings): Promise<BatchResult[]> {
  const { signal, onResult } = settings;
  const { rows, context } = rowsFor(parts.model, settings);
  const count = Math.min(rows, parts.scheduler.most, items.count);
  throwIfAborted(signal);
  const results: BatchResult[] = [];
  if (count === 0) return results;

  // One failure that concerns all stops the other rows too.
  const { abort, leave } = abortedBy(signal);
  let fatal: { error: unknown } | undefined;
  let next = 0;
  const stop = (error: unknown) => {
    fatal ??= { error };
    abort.abort(error);
  };
  const calls = new Set<Promise<void>>(); // of the caller's function under way: it may be asynchronous, and whatever goes wrong in it ends the batch
  const tell = (result: BatchResult, index: number): void => {
    if (fatal || !onResult) return;
    try {
      const call: Promise<void> = Promise.resolve(onResult(result, index))
        .catch(stop)
        .finally(() => calls.delete(call));
      calls.add(call);
    } catch (error) {
      stop(error);
    }
  };
  const answer = async (index: number): Promise<void> => {
    try {
      const item = items.read(index);
      const result = await converse(parts, item, abort.signal, context);
      tell(result, index);
      results[index] = onResult ? light(result, item.ask) : result;
    } catch (thrown) {
      const error = asEngineError(thrown, abort.signal);
      if (endsAll(error, abort.signal)) return stop(error);
      results[index] = { error };
      tell({ error }, index);
    }
  };
  const work = async (): Promise<void> => {
    while (next < items.count && !fatal) await answer(next++);
  };

  const release = parts.scheduler.reserve(count);
  try {
    await Promise.all(Array.from({ length: count }, work));
    await doneOrAborted(Promise.all(calls), abort.signal); // an abort is the way out of a callback that never ends
    if (fatal) throw fatal.error;
    throwIfAborted(abort.signal);
    return results;
  } finally {
    leave();
    await release();
  }
}
