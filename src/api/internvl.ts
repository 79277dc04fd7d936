import { EngineError, throwIfAborted } from "../errors.ts";
import { generate } from "../generate/loop.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import type { SourceLike } from "../weights/source.ts";
import { Answer } from "./answer.ts";
import { type BatchItem, type BatchOptions, type BatchResult, runBatch } from "./batch.ts";
import { type GenerationOptions, generation } from "./generation.ts";
import { type LoadOptions, loadParts } from "./load.ts";
import type { Parts } from "./parts.ts";
import { type PromptRequest, preparePrompt } from "./prompt.ts";
import { doneOrAborted } from "./queue.ts";
import { ChatReply, type ChatResult } from "./reply.ts";
import { Session, type SessionOptions } from "./session.ts";

export interface ChatOptions extends Omit<PromptRequest, "question">, GenerationOptions {}

const parts = new WeakMap<InternVL, Parts>();

/** The insides of a loaded model. @throws EngineError disposed */
export function partsOf(vlm: InternVL): Parts {
  const found = parts.get(vlm);
  if (!found) throw new EngineError("disposed", "this model was disposed", { hint: "load it again" });
  return found;
}

/** Abort errors of the platform (fetch, files) become this library's. */
function asEngineError(error: unknown, signal: AbortSignal | undefined): unknown {
  if (error instanceof EngineError || !signal?.aborted) return error;
  return new EngineError("aborted", "the operation was aborted", { cause: error });
}

/** A vision-language model of the InternVL 2.5 family, ready to answer. */
export class InternVL {
  private constructor() {}

  /**
   * Loads a checkpoint (config.json, tokenizer and safetensors files): from a folder's path, a URL, a Hugging Face id `org/name`,
   * `File`s, an opened folder, or anything that opens files by name. What lies on a server is downloaded into the cache first.
   *
   * @throws EngineError no-webgpu, no-adapter, limit-exceeded, out-of-memory, bad-weights, bad-input, network, aborted
   */
  static async load(source: SourceLike, options: LoadOptions = {}): Promise<InternVL> {
    try {
      const loaded = await loadParts(source, options);
      const vlm = new InternVL();
      parts.set(vlm, loaded);
      options.onProgress?.({ phase: "ready", loaded: 1, total: 1 });
      return vlm;
    } catch (error) {
      throw asEngineError(error, options.signal);
    }
  }

  /** The adapter's name. */
  get adapter(): string {
    return partsOf(this).gpu.adapterName;
  }

  /** How the matrices are held on the GPU. */
  get weights(): MatrixDtype {
    return partsOf(this).weights;
  }

  /** Bytes in use on the GPU, by label. */
  memory(): { bytes: number; entries: { label: string; bytes: number }[] } {
    const { memory } = partsOf(this).gpu;
    return { bytes: memory.bytes, entries: memory.entries() };
  }

  /**
   * Answers a question about pictures, frames, or neither. It starts at once; iterate the reply for its pieces, or await it.
   *
   * @throws (from the reply) EngineError bad-input, bad-image, context-overflow, network, aborted, disposed, device-lost
   */
  chat(question: string, options: ChatOptions = {}): ChatReply {
    return this.#ask(question, options.signal, async () => options);
  }

  /** A conversation whose turns compute only what is new. */
  session(options: SessionOptions = {}): Session {
    return new Session((question, signal, turn) => this.#ask(question, signal, turn), options);
  }

  /**
   * Answers many requests, several at a time: their next tokens are decoded in one step, so that the weights are read once for all. An
   * item that fails has its `error` in the result and does not disturb the others. Chats that come meanwhile have their turn in between.
   *
   * @throws EngineError what concerns all items: bad-input (options), aborted, out-of-memory, disposed, device-lost
   */
  async batch(items: readonly BatchItem[], options: BatchOptions = {}): Promise<BatchResult[]> {
    try {
      return await runBatch(() => partsOf(this), items, options);
    } catch (error) {
      throw asEngineError(error, options.signal);
    }
  }

  /** Starts an answer; `options` is called when its turn in a conversation has come. */
  #ask(question: string, signal: AbortSignal | undefined, options: () => Promise<ChatOptions>): ChatReply {
    const abort = new AbortController();
    if (signal?.aborted) abort.abort(signal.reason);
    const relay = () => abort.abort(signal?.reason);
    signal?.addEventListener("abort", relay, { once: true });
    return new ChatReply(abort, async (emit) => {
      try {
        const turn = options();
        await doneOrAborted(turn, abort.signal);
        throwIfAborted(abort.signal);
        return await this.#answer(question, await turn, abort.signal, emit);
      } catch (error) {
        throw asEngineError(error, abort.signal);
      } finally {
        signal?.removeEventListener("abort", relay);
      }
    });
  }

  async #answer(question: string, options: ChatOptions, signal: AbortSignal, emit: (piece: string) => void): Promise<ChatResult> {
    const { tokenizer, config, imageContextId, queue, stopId } = partsOf(this);
    throwIfAborted(signal);
    if (typeof question !== "string") throw new EngineError("bad-input", `the question is no text but ${typeof question}`);
    const asked = generation(options);
    const began = performance.now();
    const prepared = await preparePrompt({ ...options, question, signal }, config, tokenizer);
    const answer = new Answer(prepared, asked, { tokenizer, stopId }, performance.now() - began, emit);
    const leave = await queue.enter(signal);
    try {
      const { model, stepper } = partsOf(this); // it may have been disposed meanwhile
      return answer.finish(await generate(model, stepper, answer.request(imageContextId, signal), (id) => answer.accept(id)));
    } finally {
      leave();
    }
  }

  /** Waits for what is under way, then frees everything on the GPU. Disposing twice does nothing. */
  async dispose(): Promise<void> {
    const found = parts.get(this);
    if (!found) return;
    parts.delete(this);
    const leave = await found.queue.enter();
    found.gpu.close();
    leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
