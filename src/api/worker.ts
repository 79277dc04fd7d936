/**
 * The model in a worker of its own: the class behind `InternVL.load(source, { worker })`.
 *
 * @module internvl-webgpu/worker
 */

import { platform } from "#platform";
import { disposed, EngineError, onAbort, throwIfAborted } from "../errors.ts";
import type { DeviceOptions } from "../gpu/device.ts";
import type { SourceLike, WeightSource } from "../hub/source.ts";
import { readOptions } from "../options.ts";
import type { ByteSource } from "../safetensors/types.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { acceptBatch, acceptChat } from "./accept.ts";
import { acceptItem } from "./accept-item.ts";
import { acceptWorkerLoad } from "./accept-worker-load.ts";
import type { AcceptedItem, Ask } from "./asking.ts";
import type { BatchItem, BatchOptions } from "./batch.ts";
import { light } from "./light.ts";
import type { LoadOptions } from "./load.ts";
import type { Message } from "./messages.ts";
import { COMPLETION } from "./openai-options.ts";
import type { Complete, CompletionOptions } from "./openai-types.ts";
import type { ChatOptions } from "./prompt.ts";
import { asEngineError, type BatchAnswer, type BatchResult, type ChatReply, type ChatResult, type Run, startReply } from "./reply.ts";
import { Session, type SessionOptions } from "./session.ts";
import { completion } from "./worker-complete.ts";
import { portableAsk, portableItem, revivedResult } from "./worker-pictures.ts";
import {
  decodeError,
  encodeError,
  type ModelState,
  NO_STATE,
  type PageSource,
  type Port,
  type Request,
  type Response,
} from "./worker-protocol.ts";

/** As `LoadOptions`, but devices and functions cannot be handed to a worker. */
export interface WorkerLoadOptions extends Omit<LoadOptions, "device" | "devices" | "fetch"> {
  device?: DeviceOptions | undefined;
  devices?: readonly DeviceOptions[] | undefined;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
  onMessage(message: Response): void;
}

type Unnumbered<T = Request> = T extends Request ? Omit<T, "id"> : never;

const notRunning = (why: string, cause?: unknown): EngineError =>
  new EngineError("network", `the model's worker does not run: ${why}`, {
    hint: "see the browser's console; where the page's Content-Security-Policy forbids it, allow worker-src blob: or give a worker of yours",
    cause,
  });

/** The requests under way and how they are answered. */
class Connection {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #last = 0;
  state: ModelState = NO_STATE;

  constructor(worker: Worker) {
    this.#worker = worker;
    (worker as Port).addEventListener("message", ({ data }: MessageEvent<Response>) => this.#receive(data));
    worker.addEventListener("error", ({ message }) => {
      this.close(notRunning(message || "its script did not load"));
    });
  }

  #receive(message: Response): void {
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    if (message.type === "done") {
      this.state = message.state;
      pending.resolve(message.value);
    } else if (message.type === "error") pending.reject(decodeError(message.error));
    else pending.onMessage(message);
  }

  /**
   * Sends a request and waits for its end. `onMessage` may call functions of the page's: what those throw, now or later, ends the request
   * with that error.
   */
  async request(
    message: Unnumbered,
    transfer: Transferable[],
    signal: AbortSignal | undefined,
    onMessage: (message: Response) => unknown,
  ): Promise<unknown> {
    const id = ++this.#last;
    const abort = () => this.#worker.postMessage({ id, op: "abort" } satisfies Request);
    let leave = () => {};
    const running: Promise<void>[] = [];
    let thrown: { error: unknown } | undefined;
    const failed = (error: unknown) => {
      if (!thrown) abort();
      thrown ??= { error };
    };
    const call = (response: Response) => {
      try {
        const given = onMessage(response);
        if (given instanceof Promise) running.push(given.catch(failed));
      } catch (error) {
        failed(error);
      }
    };
    try {
      const value = await new Promise<unknown>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, onMessage: call });
        this.send({ ...message, id } as Request, transfer);
        leave = onAbort(signal, abort);
      });
      await Promise.all(running);
      if (thrown) throw thrown.error;
      return value;
    } catch (error) {
      if (thrown) throw thrown.error; // the page's own mistake, not the abort that it led to
      if (error instanceof EngineError && error.code === "aborted") throwIfAborted(signal); // with the page's reason
      throw error;
    } finally {
      this.#pending.delete(id);
      leave();
    }
  }

  send(message: Request, transfer: Transferable[]): void {
    try {
      this.#worker.postMessage(message, transfer);
    } catch (cause) {
      const hint = "options must be plain data, and images whole: not closed, not moved away";
      throw new EngineError("bad-input", `this cannot be sent to the model's worker: ${(cause as Error).message}`, { hint, cause });
    }
  }

  close(reason: EngineError): void {
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(reason);
  }
}

const connections = new WeakMap<InternVLWorker, Connection>();

function connectionOf(vlm: InternVLWorker): Connection {
  const found = connections.get(vlm);
  if (!found) throw disposed();
  return found;
}

const revivedBatch = (answer: BatchAnswer): BatchAnswer => ({ ...revivedResult(answer), turns: answer.turns.map(revivedResult) });

const isOpener = (source: SourceLike): source is WeightSource => typeof (source as Partial<WeightSource>).open === "function";

/** What can be sent as it is: addresses, a directory's handle, a list of files. */
function portableSource(source: SourceLike): unknown {
  if (source instanceof URL) return source.href;
  const isList = typeof source === "object" && ("length" in source || Symbol.iterator in source);
  return isList ? Array.from(source as Iterable<File>) : source;
}

/** The files of a weight source that lives in the page: each is opened once, and closed when the model is loaded. */
function pageFiles(source: WeightSource) {
  const opened = new Map<string, Promise<ByteSource | undefined>>();
  return {
    /** A file's size without a range (undefined where there is none), else its bytes. */
    async answer({ file, offset, length }: Extract<Response, { type: "read" }>): Promise<unknown> {
      const opening = opened.get(file) ?? source.open(file);
      opened.set(file, opening);
      const found = await opening;
      if (!found || offset === undefined || length === undefined) return found?.size;
      return new Uint8Array(await found.read(offset, length)); // a copy to give away: the source's own memory stays its own
    },
    async close(): Promise<void> {
      const files = await Promise.allSettled(opened.values());
      for (const file of files) if (file.status === "fulfilled") await file.value?.close?.();
    },
  };
}

/** `InternVL` in a worker of its own: the page stays free while it loads and answers. `InternVL.load` returns one too: so the two stay alike. */
export class InternVLWorker {
  private constructor() {}

  /**
   * As `InternVL.load`. Without `options.worker` it starts the library's own worker.
   *
   * @throws EngineError as `InternVL.load` does, and network where the worker's script does not load
   *
   * @example
   * ```ts page
   * const vlm = await InternVLWorker.load("OpenGVLab/InternVL2_5-1B", { weights: "q4" });
   * ```
   */
  static async load(source: SourceLike, options?: WorkerLoadOptions): Promise<InternVLWorker> {
    const { source: from, adapters, worker, signal, onProgress, ...rest } = acceptWorkerLoad(source, options);
    throwIfAborted(signal);
    const own = typeof worker === "object" ? worker : undefined;
    if (!own && typeof Worker === "undefined")
      throw new EngineError("bad-input", "a model in a worker needs the class Worker of a page, which is not there", {
        hint: "in Node load it without a worker; or give a worker of yours that runs internvl-webgpu/worker-thread",
      });
    const starting = own ?? platform.startModel().catch((cause) => Promise.reject(notRunning((cause as Error).message, cause)));
    const connection = new Connection(await starting);
    const pages: ReturnType<typeof pageFiles>[] = [];
    const portable = (source: SourceLike): unknown =>
      isOpener(source) ? ({ page: pages.push(pageFiles(source)) - 1 } satisfies PageSource) : portableSource(source);
    try {
      const options = { ...rest, ...(adapters && { adapters: adapters.map(portable) }) };
      await connection.request({ op: "load", source: portable(from), options }, [], signal, (message) => {
        if (message.type === "progress") onProgress?.(message.progress);
        if (message.type !== "read") return;
        const { id, call, page } = message;
        pages[page]!.answer(message).then(
          (value) => connection.send({ id, op: "file", call, value }, value instanceof Uint8Array ? [value.buffer] : []),
          (error) => connection.send({ id, op: "file", call, error: encodeError(error) }, []),
        );
      });
    } catch (error) {
      connection.close(disposed());
      throw error;
    } finally {
      await Promise.all(pages.map((page) => page.close()));
    }
    const vlm = new InternVLWorker();
    connections.set(vlm, connection);
    return vlm;
  }

  get adapter(): string {
    return connectionOf(this).state.adapter;
  }

  get weights(): MatrixDtype {
    return connectionOf(this).state.weights;
  }

  /** Bytes in use on the GPU, by label, as of the last answer. */
  memory(): ModelState["memory"] {
    return connectionOf(this).state.memory;
  }

  /** As `InternVL.chat`. Images of the page move to the worker; files, bitmaps and frames stay usable here. */
  chat(question: string | readonly Message[], options?: ChatOptions): ChatReply {
    return startReply(
      () => acceptChat(question, options),
      (...asked) => this.#ask(...asked),
    );
  }

  /** As `InternVL.complete`. */
  complete: Complete = async (request: unknown, options?: CompletionOptions): Promise<never> => {
    const connection = connectionOf(this);
    const { signal, ...limits } = readOptions("complete", options, COMPLETION);
    throwIfAborted(signal);
    const message = { op: "complete", request, options: limits } as const;
    return completion((aborted, onMessage) => connection.request(message, [], aborted, onMessage), signal) as Promise<never>;
  };

  /** As `InternVL.session`. */
  session(options?: SessionOptions): Session {
    return new Session((...asked) => this.#ask(...asked), options);
  }

  /** As `InternVL.batch`. */
  async batch(items: readonly BatchItem[], options?: BatchOptions): Promise<BatchResult[]> {
    const { items: list, signal, onResult, ...settings } = acceptBatch(items, options);
    const connection = connectionOf(this);
    throwIfAborted(signal);
    const { rows, kvBytes, maxContext } = settings;
    const results: BatchResult[] = [];
    // What is wrong with an item is seen here: the others go over.
    const asked: { index: number; ask: Ask }[] = [];
    const sent: AcceptedItem[] = [];
    const transfer: Transferable[] = [];
    for (const [i, item] of list.entries()) {
      try {
        const accepted = acceptItem(item, i, settings);
        const portable = await portableItem(accepted);
        asked.push({ index: i, ask: accepted.ask });
        sent.push(portable.value);
        transfer.push(...portable.transfer);
      } catch (error) {
        results[i] = { error: asEngineError(error, signal) };
        await onResult?.(results[i], i);
      }
    }
    const request = { op: "batch", items: sent, settings: { rows, kvBytes, maxContext } } as const;
    await connection.request(request, transfer, signal, (message) => {
      if (message.type !== "result") return;
      const { index, ask } = asked[message.index]!;
      if (message.error) {
        results[index] = { error: decodeError(message.error) as EngineError };
        return onResult?.(results[index], index);
      }
      const answer = revivedBatch(message.result as BatchAnswer);
      results[index] = onResult ? light(answer, ask) : answer;
      return onResult?.(answer, index);
    });
    return results;
  }

  async #ask(...[ask, signal, emit, onProgress]: Parameters<Run>): Promise<ChatResult> {
    const connection = connectionOf(this);
    const { value, transfer } = await portableAsk(ask);
    throwIfAborted(signal);
    const result = await connection.request({ op: "chat", ask: value, tells: onProgress !== undefined }, transfer, signal, (message) => {
      if (message.type === "piece") emit(message.piece);
      if (message.type === "prompt") onProgress?.(message.progress);
    });
    return revivedResult(result as ChatResult);
  }

  /** Waits for what is under way, frees everything and ends the worker. Disposing twice does nothing. */
  async dispose(): Promise<void> {
    const connection = connections.get(this);
    if (!connection) return;
    connections.delete(this);
    try {
      await connection.request({ op: "dispose" }, [], undefined, () => {});
    } finally {
      connection.close(disposed());
    }
  }

  /** `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}
