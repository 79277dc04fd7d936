import { EngineError, throwIfAborted } from "../errors.ts";
import { generate } from "../generate/loop.ts";
import { type DeviceOptions, type Gpu, openGpu } from "../gpu/device.ts";
import { type ModelConfig, parseConfig } from "../model/config.ts";
import type { Model } from "../model/internvl.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { finishResponse } from "../text/response.ts";
import { StreamDecoder } from "../text/stream.ts";
import { checkTemplate } from "../text/template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { openWeights, type WeightFormat } from "../weights/checkpoint.ts";
import { fileOrigin } from "../weights/origin.ts";
import { type HubOptions, openSource, readSmall, type SourceLike, type SourceProgress } from "../weights/source.ts";
import { loadModel } from "./model-load.ts";
import { type PromptRequest, preparePrompt } from "./prompt.ts";
import { Queue } from "./queue.ts";
import { ChatReply, type ChatResult } from "./reply.ts";

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
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

export interface ChatOptions extends Omit<PromptRequest, "question"> {
  /** Most new tokens; 1024 by default. */
  maxTokens?: number | undefined;
}

const WEIGHT_FORMATS: readonly WeightFormat[] = ["auto", "bf16", "f16", "f32", "q8", "q4"];
const DEFAULT_CONTEXT = 8192;
const DEFAULT_TOKENS = 1024;

/** What the class is made of; `testing.ts` reaches it through `partsOf`. */
export interface Parts {
  gpu: Gpu;
  model: Model;
  tokenizer: Tokenizer;
  config: ModelConfig;
  weights: MatrixDtype;
  imageContextId: number;
  stopId: number;
  queue: Queue;
}

const parts = new WeakMap<InternVL, Parts>();

/** The insides of a loaded model. @throws EngineError disposed */
export function partsOf(vlm: InternVL): Parts {
  const found = parts.get(vlm);
  if (!found) throw new EngineError("disposed", "this model was disposed", { hint: "load it again" });
  return found;
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) throw new EngineError("bad-input", `${name} is ${value}, needs a positive integer`);
  return value;
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
          signal,
          onBytes: (loaded) => upload((furthest = Math.max(furthest, loaded))),
          onNote: (note) => upload(furthest, note),
        });
        onProgress?.({ phase: "compile", loaded: 0, total: 1 });
        await model.recordVision(config.tileSize);
        onProgress?.({ phase: "compile", loaded: 1, total: 1 });
        throwIfAborted(signal);
        const vlm = new InternVL();
        parts.set(vlm, { gpu, model, tokenizer, config, weights, imageContextId, stopId, queue: new Queue() });
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
    const abort = new AbortController();
    const { signal } = options;
    if (signal?.aborted) abort.abort(signal.reason);
    const relay = () => abort.abort(signal?.reason);
    signal?.addEventListener("abort", relay, { once: true });
    return new ChatReply(abort, async (emit) => {
      try {
        return await this.#answer(question, options, abort.signal, emit);
      } catch (error) {
        throw asEngineError(error, abort.signal);
      } finally {
        signal?.removeEventListener("abort", relay);
      }
    });
  }

  async #answer(question: string, options: ChatOptions, signal: AbortSignal, emit: (piece: string) => void): Promise<ChatResult> {
    const { tokenizer, config, imageContextId, stopId, queue } = partsOf(this);
    throwIfAborted(signal);
    if (typeof question !== "string") throw new EngineError("bad-input", `the question is no text but ${typeof question}`);
    const maxTokens = positive("maxTokens", options.maxTokens ?? DEFAULT_TOKENS);
    const began = performance.now();
    const prepared = await preparePrompt({ ...options, question, signal }, config, tokenizer);
    const { inputIds, pixels } = prepared;
    const prepare = performance.now() - began;
    const leave = await queue.enter();
    try {
      throwIfAborted(signal);
      const { model } = partsOf(this); // it may have been disposed meanwhile
      const started = performance.now();
      let firstToken = 0;
      const decoder = new StreamDecoder(tokenizer);
      const tokenIds: number[] = [];
      let stopped = false;
      for await (const id of generate(model, { inputIds, pixels, imageContextId, stopIds: new Set([stopId]), maxTokens, signal })) {
        if (tokenIds.length === 0) firstToken = performance.now() - started;
        tokenIds.push(id);
        stopped = id === stopId;
        const piece = decoder.push(id);
        if (piece) emit(piece);
      }
      const rest = decoder.end();
      if (rest) emit(rest);
      const text = finishResponse(tokenizer.decode(tokenIds, { skipSpecialTokens: true }));
      const turn = { question: prepared.question, answer: text, images: prepared.images };
      return {
        text,
        tokenIds,
        promptTokenIds: inputIds,
        usage: { promptTokens: inputIds.length, completionTokens: tokenIds.length, totalTokens: inputIds.length + tokenIds.length },
        timings: { prepare, firstToken, decode: performance.now() - started - firstToken },
        finishReason: stopped ? "stop" : "length",
        history: [...prepared.turns, turn],
      };
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
