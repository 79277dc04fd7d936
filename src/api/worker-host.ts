import { disposed } from "../errors.ts";
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

type ChatRequest = Extract<Request, { op: "chat" }>;
type BatchRequest = Extract<Request, { op: "batch" }>;
type CompleteRequest = Extract<Request, { op: "complete" }>;
type LoadRequest = Extract<Request, { op: "load" }>;

/** The worker's side: holds one model and answers the page's requests. */
export function serveModel(port: Port): void {
  let model: InternVL | undefined;
  const answers = new Set<Promise<void>>();
  const aborts = new Map<number, AbortController>();
  const reads = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let calls = 0;

  const send = (message: Response): void => port.postMessage(message, []);

  /** Reads a file of the page: its size without a range (undefined where there is none), else the bytes. */
  const readPage = (id: number, page: number, file: string, offset?: number, length?: number): Promise<unknown> =>
    new Promise((resolve, reject) => {
      reads.set(++calls, { resolve, reject });
      send({ id, type: "read", call: calls, page, file, offset, length });
    });

  const pageSource = (id: number, page: number): WeightSource => ({
    async open(name): Promise<ByteSource | undefined> {
      const size = (await readPage(id, page, name)) as number | undefined;
      if (size === undefined) return undefined;
      return { name, size, read: async (offset, length) => (await readPage(id, page, name, offset, length)) as Uint8Array };
    },
  });

  async function load({ id, source, options }: LoadRequest, signal: AbortSignal): Promise<void> {
    const here = (each: unknown) =>
      (isRecord(each) && "page" in each ? pageSource(id, (each as unknown as PageSource).page) : each) as SourceLike;
    const { adapters } = options as LoadOptions;
    const onProgress: LoadOptions["onProgress"] = (progress) => send({ id, type: "progress", progress });
    model = await InternVL.load(here(source), { ...options, adapters: adapters?.map(here), signal, onProgress });
  }

  async function chat({ id, ask, tells }: ChatRequest, signal: AbortSignal): Promise<unknown> {
    const model = loaded();
    const { pictures } = partsOf(model);
    try {
      const emit = (piece: string) => send({ id, type: "piece", piece });
      const result = await answerAsk(model, ask, signal, emit, tells ? (progress) => send({ id, type: "prompt", progress }) : undefined);
      return namedResult(result, (part) => pictures.idOf(part));
    } finally {
      closePictures(ask);
    }
  }

  async function complete({ id, request, options }: CompleteRequest, signal: AbortSignal): Promise<unknown> {
    const answer = await loaded().complete(request as ChatCompletionRequest, { ...options, signal });
    if (!(Symbol.asyncIterator in answer)) return answer;
    send({ id, type: "begun" });
    for await (const chunk of answer) send({ id, type: "chunk", chunk });
    return undefined;
  }

  /** Results go one by one as they are done; an error among them travels encoded. */
  async function batch({ id, items, settings }: BatchRequest, signal: AbortSignal): Promise<void> {
    const onResult: BatchOptions["onResult"] = (result, index) => {
      closePictures(items[index]!.ask);
      if ("error" in result) send({ id, type: "result", index, result: undefined, error: encodeError(result.error) });
      else send({ id, type: "result", index, result });
    };
    try {
      await answerBatch(loaded(), { count: items.length, read: (i) => items[i]! }, { ...settings, signal, onResult });
    } finally {
      for (const { ask } of items) closePictures(ask);
    }
  }

  function loaded(): InternVL {
    if (!model) throw disposed();
    return model;
  }

  /** What was asked before is answered first: the page, told that all is freed, ends this worker. */
  async function dispose(): Promise<void> {
    const leaving = model;
    model = undefined;
    await Promise.all(answers);
    await leaving?.dispose();
  }

  const ops = { load, chat, complete, batch, dispose };

  const state = (): ModelState => (model ? { adapter: model.adapter, weights: model.weights, memory: model.memory() } : NO_STATE);

  async function answer(request: Exclude<Request, { op: "abort" | "file" }>): Promise<void> {
    const { id } = request;
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
      const value = await ops[request.op](request as never, abort.signal);
      send({ id, type: "done", value, state: state() });
    } catch (error) {
      send({ id, type: "error", error: encodeError(error) });
    } finally {
      aborts.delete(id);
    }
  }

  port.addEventListener("message", ({ data }: MessageEvent<Request>) => {
    if (data.op === "abort") aborts.get(data.id)?.abort();
    else if (data.op === "file") {
      const read = reads.get(data.call);
      reads.delete(data.call);
      if (data.error) read?.reject(decodeError(data.error));
      else read?.resolve(data.value);
    } else {
      const answering = answer(data);
      if (data.op === "dispose") return;
      answers.add(answering);
      answering.then(() => answers.delete(answering));
    }
  });
}
