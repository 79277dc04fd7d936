import { disposed, late } from "../errors.ts";
import type { SourceLike } from "../hub/source.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { abortable } from "./aborting.ts";
import { acceptBatch, acceptChat } from "./accept.ts";
import { acceptLoad } from "./accept-load.ts";
import type { BatchItem, BatchItems, BatchOptions, BatchSettings } from "./batch.ts";
import type { LoadOptions } from "./load.ts";
import type { Message } from "./messages.ts";
import type { Complete, CompletionOptions } from "./openai-types.ts";
import type { Parts } from "./parts.ts";
import type { ChatOptions } from "./prompt.ts";
import { type BatchResult, type ChatReply, type ChatResult, type Run, startReply } from "./reply.ts";
import { Session, type SessionOptions } from "./session.ts";
import type { WorkerLoadOptions } from "./worker.ts";

const parts = new WeakMap<InternVL, Parts>();

/** The insides of a loaded model. @throws EngineError disposed */
export function partsOf(vlm: InternVL): Parts {
  const found = parts.get(vlm);
  if (!found) throw disposed();
  return found;
}

/** Prepares a question and answers it. */
export async function answerAsk(vlm: InternVL, ...[ask, signal, emit, onProgress]: Parameters<Run>): Promise<ChatResult> {
  const parts = partsOf(vlm);
  const { answerWith } = await late("what answers", import("./answer.ts"));
  return answerWith(parts, ask, signal, emit, { onProgress });
}

/** Answers what a batch was given, already read. @throws EngineError what concerns all items */
export async function answerBatch(vlm: InternVL, items: BatchItems, settings: BatchSettings): Promise<BatchResult[]> {
  const parts = partsOf(vlm);
  return (await late("batches", import("./batch.ts"))).runBatch(parts, items, settings);
}

/** A vision-language model of the InternVL 2.5 family, ready to answer. */
export class InternVL {
  private constructor() {}

  /**
   * Loads a checkpoint (config.json, tokenizer and safetensors files): from a folder's path, a URL, a Hugging Face id `org/name`,
   * `File`s, an opened folder, or anything that opens files by name. What lies on a server is downloaded into the cache first.
   *
   * @throws EngineError no-webgpu, no-adapter, limit-exceeded, out-of-memory, bad-weights, bad-input, network, aborted
   *
   * @example
   * ```ts
   * const vlm = await InternVL.load("OpenGVLab/InternVL2_5-1B", { weights: "q8", onProgress: ({ phase, loaded, total }) => show(phase, loaded / total) });
   * ```
   */
  static async load(source: SourceLike, options?: LoadOptions): Promise<InternVL> {
    const { source: from, worker, ...accepted } = acceptLoad(source, options);
    if (worker) {
      const { InternVLWorker } = await late("what speaks to the worker", import("./worker.ts"));
      return InternVLWorker.load(from, { ...accepted, worker } as WorkerLoadOptions);
    }
    const { loadParts } = await late("the engine", import("./load.ts")); // not needed where a worker computes
    return abortable(accepted.signal, async () => {
      const vlm = new InternVL();
      parts.set(vlm, await loadParts(from, accepted));
      accepted.onProgress?.({ phase: "ready", loaded: 1, total: 1 });
      return vlm;
    });
  }

  /** The adapter's name; of several devices those of all, with commas between. */
  get adapter(): string {
    return partsOf(this)
      .gpus.map(({ adapterName }) => adapterName)
      .join(", ");
  }

  /** How the matrices are held on the GPU. */
  get weights(): MatrixDtype {
    return partsOf(this).weights;
  }

  /** Bytes in use on the GPU, by label; of several devices those of all. */
  memory(): { bytes: number; entries: { label: string; bytes: number }[] } {
    const { gpus } = partsOf(this);
    return { bytes: gpus.reduce((sum, { memory }) => sum + memory.bytes, 0), entries: gpus.flatMap(({ memory }) => memory.entries()) };
  }

  /**
   * Answers a question, a text or messages that end with a user's, about pictures, frames, or neither. It starts at once; iterate the reply
   * for its pieces, or await it.
   *
   * @throws (from the reply) EngineError bad-input, bad-image, context-overflow, network, aborted, disposed, device-lost
   *
   * @example
   * ```ts
   * const reply = vlm.chat("What shape is it?", { images: ["photo.png"], maxTokens: 100 });
   * for await (const piece of reply) process.stdout.write(piece); // A triangle.
   * const { text, history } = await reply;
   * ```
   */
  chat(question: string | readonly Message[], options?: ChatOptions): ChatReply {
    return startReply(
      () => acceptChat(question, options),
      (...asked) => answerAsk(this, ...asked),
    );
  }

  /**
   * Answers a request of OpenAI's chat completions, whole or, where it says `stream: true`, as chunks. Pictures come as `data:` URLs. Leaving
   * the chunks early aborts the answer.
   *
   * @throws EngineError bad-input (`param` names the field), bad-image, context-overflow, aborted, disposed, device-lost
   *
   * @example
   * ```ts
   * const chunks = await vlm.complete({ messages: [{ role: "user", content: "Hello!" }], max_tokens: 20, stream: true });
   * for await (const { choices } of chunks) process.stdout.write(choices[0]?.delta.content ?? "");
   * ```
   */
  complete: Complete = async (request: unknown, options?: CompletionOptions): Promise<never> => {
    const parts = partsOf(this);
    return (await late("what answers OpenAI's requests", import("./openai.ts"))).complete(parts, request, options) as Promise<never>;
  };

  /**
   * A conversation whose turns compute only what is new. @throws EngineError bad-input
   *
   * @example
   * ```ts
   * const session = vlm.session({ system: "You are terse." });
   * await session.send("What shape is it?", { images: ["photo.png"] });
   * await session.send("And what color is it?");
   * ```
   */
  session(options?: SessionOptions): Session {
    return new Session((...asked) => answerAsk(this, ...asked), options);
  }

  /**
   * Answers many requests, several at a time: their next tokens are decoded in one step, so that the weights are read once for all. An
   * item that fails has its `error` in the result and does not disturb the others. Chats that come meanwhile are decoded along with them.
   *
   * @throws EngineError what concerns all items: bad-input (options), aborted, out-of-memory, disposed, device-lost; and whatever `onResult` throws
   *
   * @example
   * ```ts
   * const results = await vlm.batch([{ prompt: "What shape is it?", images: ["photo.png"] }, { prompt: "Hello!" }], { maxTokens: 100 });
   * for (const each of results) console.log("error" in each ? each.error.message : each.text);
   * ```
   */
  async batch(items: readonly BatchItem[], options?: BatchOptions): Promise<BatchResult[]> {
    const { items: list, ...settings } = acceptBatch(items, options);
    const { acceptItem } = await late("batches", import("./accept-item.ts"));
    return answerBatch(this, { count: list.length, read: (i) => acceptItem(list[i], i, settings) }, settings);
  }

  /** Waits for what is under way, then frees everything on the GPU; what comes meanwhile is refused. Disposing twice does nothing. */
  async dispose(): Promise<void> {
    const found = parts.get(this);
    if (!found) return;
    parts.delete(this);
    await found.scheduler.close(disposed());
    await found.model.idle().catch(() => {}); // lost, then: there is nothing to wait for
    await found.grammars?.then((grammars) => grammars.dispose()).catch(() => {});
    for (const gpu of found.gpus) gpu.close();
  }

  /** `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
