import { disposed } from "../errors.ts";
import type { PromptProgress } from "../generate/request.ts";
import type { SourceLike, WeightSource } from "../hub/source.ts";
import { isRecord } from "../options.ts";
import type { ByteSource } from "../safetensors/types.ts";
import type { BatchOptions } from "./batch.ts";
import { answerAsk, answerBatch, InternVL, partsOf } from "./internvl.ts";
import type { LoadOptions } from "./load.ts";
import type { ChatCompletionRequest } from "./openai-types.ts";
import { closePictures, namedResult } from "./worker-pictures.ts";
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

type Of<Op extends Request["op"]> = Extract<Request, { op: Op }>;
type Send = (message: Response) => void;

/** Weight sources that stay in the page: their files are read over the port. */
function pageSources(send: Send) {
  const reads = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let calls = 0;
  /** Reads a file of the page: its size without a range (undefined where there is none), else the bytes. */
  const read = (id: number, page: number, file: string, offset?: number, length?: number): Promise<unknown> =>
    new Promise((resolve, reject) => {
      reads.set(++calls, { resolve, reject });
      send({ id, type: "read", call: calls, page, file, offset, length });
    });
  return {
    source: (id: number, page: number): WeightSource => ({
      async open(name): Promise<ByteSource | undefined> {
        const size = (await read(id, page, name)) as number | undefined;
        if (size === undefined) return undefined;
        return { name, size, read: async (offset, length) => (await read(id, page, name, offset, length)) as Uint8Array };
      },
    }),
    /** What the page has read. */
    answer({ call, value, error }: Of<"file">): void {
      const asked = reads.get(call);
      reads.delete(call);
      if (error) asked?.reject(decodeError(error));
      else asked?.resolve(value);
    },
  };
}

/** The worker's one model, and what the page may have it do. */
class Host {
  readonly #send: Send;
  readonly pages: ReturnType<typeof pageSources>;
  readonly answers = new Set<Promise<void>>(); // under way
  #model: InternVL | undefined;

  constructor(send: Send) {
    this.#send = send;
    this.pages = pageSources(send);
  }

  get state(): ModelState {
    const model = this.#model;
    return model ? { adapter: model.adapter, weights: model.weights, memory: model.memory() } : NO_STATE;
  }

  get #loaded(): InternVL {
    if (!this.#model) throw disposed();
    return this.#model;
  }

  async load({ id, source, options }: Of<"load">, signal: AbortSignal): Promise<void> {
    const here = (each: unknown) =>
      (isRecord(each) && "page" in each ? this.pages.source(id, (each as unknown as PageSource).page) : each) as SourceLike;
    const { adapters } = options as LoadOptions;
    const onProgress: LoadOptions["onProgress"] = (progress) => this.#send({ id, type: "progress", progress });
    this.#model = await InternVL.load(here(source), { ...options, adapters: adapters?.map(here), signal, onProgress });
  }

  async chat({ id, ask, tells }: Of<"chat">, signal: AbortSignal): Promise<unknown> {
    const model = this.#loaded;
    const { pictures } = partsOf(model);
    try {
      const emit = (piece: string) => this.#send({ id, type: "piece", piece });
      const onProgress = tells ? (progress: PromptProgress) => this.#send({ id, type: "prompt", progress }) : undefined;
      const result = await answerAsk(model, ask, signal, emit, onProgress);
      return namedResult(result, (part) => pictures.idOf(part));
    } finally {
      closePictures(ask);
    }
  }

  async complete({ id, request, options }: Of<"complete">, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#loaded.complete(request as ChatCompletionRequest, { ...options, signal });
    if (!(Symbol.asyncIterator in answer)) return answer;
    this.#send({ id, type: "begun" });
    for await (const chunk of answer) this.#send({ id, type: "chunk", chunk });
    return undefined;
  }

  /** Results go one by one as they are done; an error among them travels encoded. */
  async batch({ id, items, settings }: Of<"batch">, signal: AbortSignal): Promise<void> {
    const onResult: BatchOptions["onResult"] = (result, index) => {
      closePictures(items[index]!.ask);
      if ("error" in result) this.#send({ id, type: "result", index, result: undefined, error: encodeError(result.error) });
      else this.#send({ id, type: "result", index, result });
    };
    try {
      await answerBatch(this.#loaded, { count: items.length, read: (i) => items[i]! }, { ...settings, signal, onResult });
    } finally {
      for (const { ask } of items) closePictures(ask);
    }
  }

  /** What was asked before is answered first: the page, told that all is freed, ends this worker. */
  async dispose(): Promise<void> {
    const leaving = this.#model;
    this.#model = undefined;
    await Promise.all(this.answers);
    await leaving?.dispose();
  }
}

/** The worker's side: holds one model and answers the page's requests. */
export function serveModel(port: Port): void {
  const send: Send = (message) => port.postMessage(message, []);
  const host = new Host(send);
  const aborts = new Map<number, AbortController>();

  async function answer(request: Exclude<Request, { op: "abort" | "file" }>): Promise<void> {
    const { id } = request;
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
      const value = await host[request.op](request as never, abort.signal);
      send({ id, type: "done", value, state: host.state });
    } catch (error) {
      send({ id, type: "error", error: encodeError(error) });
    } finally {
      aborts.delete(id);
    }
  }

  port.addEventListener("message", ({ data }: MessageEvent<Request>) => {
    if (data.op === "abort") aborts.get(data.id)?.abort();
    else if (data.op === "file") host.pages.answer(data);
    else {
      const answering = answer(data);
      if (data.op === "dispose") return;
      host.answers.add(answering);
      answering.then(() => host.answers.delete(answering));
    }
  });
}
