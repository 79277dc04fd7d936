import { EngineError, throwIfAborted } from "../errors.ts";
import { generate } from "../generate/loop.ts";
import { Stepper } from "../generate/stepper.ts";
import { type DeviceOptions, openGpu } from "../gpu/device.ts";
import { parseConfig } from "../model/config.ts";
import type { KvDtype } from "../ops/kv-cache.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { checkTemplate } from "../text/template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { openWeights, type WeightFormat } from "../weights/checkpoint.ts";
import { fileOrigin } from "../weights/origin.ts";
import { type HubOptions, openSource, readSmall, type SourceLike, type SourceProgress } from "../weights/source.ts";
import { Answer } from "./answer.ts";
import { type BatchItem, type BatchOptions, type BatchResult, runBatch } from "./batch.ts";
import { type GenerationOptions, generation, positive } from "./generation.ts";
import { loadModel } from "./model-load.ts";
import type { Parts } from "./parts.ts";
import { type PromptRequest, preparePrompt } from "./prompt.ts";
import { doneOrAborted, Queue } from "./queue.ts";
import { ChatReply, type ChatResult } from "./reply.ts";
import { Session, type SessionOptions } from "./session.ts";

/** How far a load is. The phases come in this order, those of a download only where there is one; each phase's numbers only grow. */
export interface Progress {
  phase: SourceProgress["phase"] | "upload" | "compile" | "ready";
  /** Bytes in `download`, `verify` and `upload`, steps otherwise. */
  loaded: number;
  total: number;
  file?: string;
  /** What `weights: "auto"` decided, where the weights do not fit as they are stored. */
  note?: string;
}

export interface LoadOptions extends HubOptions {
  /** A device of yours, or how to choose an adapter. */
  device?: GPUDevice | DeviceOptions | undefined;
  /** How matrices are held on the GPU: `auto` as stored, or in q8 or q4 where that is what fits. */
  weights?: WeightFormat | undefined;
  /** Tokens of prompt and answer together; the KV cache is sized for it. Default 8192 or what the model has. */
  maxContext?: number | undefined;
  /**
   * How keys and values are held between steps: `auto` is f16, which halves their bytes and rounds each to 11 bits (attention's sums stay
   * f32); `f32` keeps them as they are computed.
   */
  kv?: "auto" | KvDtype | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

export interface ChatOptions extends Omit<PromptRequest, "question">, GenerationOptions {}

const WEIGHT_FORMATS: readonly WeightFormat[] = ["auto", "bf16", "f16", "f32", "q8", "q4"];
const KV_FORMATS: readonly ("auto" | KvDtype)[] = ["auto", "f16", "f32"];
const DEFAULT_CONTEXT = 8192;

const parts = new WeakMap<InternVL, Parts>();

/** The insides of a loaded model. @throws EngineError disposed */
export function partsOf(vlm: InternVL): Parts {
  const found = parts.get(vlm);
  if (!found) throw new EngineError("disposed", "this model was disposed", { hint: "load it again" });
  return found;
}

function specialId(tokenizer: Tokenizer, token: string): number {
  const id = tokenizer.idOf(token);
  if (id === undefined)
    throw new EngineError("bad-weights", `the tokenizer has no token ${token}`, {
      hint: "use the tokenizer files of the InternVL checkpoint",
    });
  return id;
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
      return await InternVL.#load(source, options);
    } catch (error) {
      throw asEngineError(error, options.signal);
    }
  }

  static async #load(from: SourceLike, options: LoadOptions): Promise<InternVL> {
    const { signal, onProgress } = options;
    const format = options.weights ?? "auto";
    if (!WEIGHT_FORMATS.includes(format))
      throw new EngineError("bad-input", `weights is ${JSON.stringify(format)}, supported: ${WEIGHT_FORMATS.join(", ")}`);
    const kv = options.kv ?? "auto";
    if (!KV_FORMATS.includes(kv)) throw new EngineError("bad-input", `kv is ${JSON.stringify(kv)}, supported: ${KV_FORMATS.join(", ")}`);
    throwIfAborted(signal);
    const source = await openSource(from, options);
    const configBytes = await readSmall(source, "config.json");
    if (!configBytes)
      throw new EngineError("bad-weights", "there is no config.json in the model's folder", {
        hint: "give the folder of a whole checkpoint",
      });
    const config = parseConfig(configBytes);
    checkTemplate(config.template);
    const tokenizer = await loadTokenizer((name) => readSmall(source, name));
    const imageContextId = specialId(tokenizer, "<IMG_CONTEXT>");
    const stopId = specialId(tokenizer, "<|im_end|>");
    const maxContext = positive("maxContext", options.maxContext ?? Math.min(DEFAULT_CONTEXT, config.language.maxPositions));
    const checkpoint = await openWeights(source, signal);
    try {
      const gpu = await openGpu(options.device);
      try {
        const origin = fileOrigin(gpu, checkpoint);
        const upload = (loaded: number, note?: string) =>
          onProgress?.({ phase: "upload", loaded, total: origin.bytes, ...(note ? { note } : {}) });
        upload(0);
        let furthest = 0; // a second attempt of `auto` begins anew, progress does not go back
        const { model, weights } = await loadModel(gpu, origin, config, {
          format,
          maxContext,
          kv: kv === "auto" ? "f16" : kv,
          signal,
          onBytes: (loaded) => upload((furthest = Math.max(furthest, loaded))),
          onNote: (note) => upload(furthest, note),
        });
        onProgress?.({ phase: "compile", loaded: 0, total: 1 });
        await model.recordVision(config.tileSize);
        onProgress?.({ phase: "compile", loaded: 1, total: 1 });
        throwIfAborted(signal);
        const vlm = new InternVL();
        parts.set(vlm, {
          gpu,
          model,
          tokenizer,
          config,
          weights,
          imageContextId,
          stopId,
          queue: new Queue(),
          stepper: new Stepper(gpu, model.lanes),
        });
        onProgress?.({ phase: "ready", loaded: 1, total: 1 });
        return vlm;
      } catch (error) {
        gpu.close();
        throw error;
      }
    } finally {
      await checkpoint.close();
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
