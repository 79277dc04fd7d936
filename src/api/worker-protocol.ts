import { EngineError } from "../errors.ts";
import type { PromptProgress } from "../generate/request.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import type { AcceptedItem, Ask } from "./asking.ts";
import type { BatchSettings } from "./batch.ts";
import type { Progress } from "./load.ts";
import type { ChatCompletionChunk } from "./openai-types.ts";

/** What a `Worker`, the scope inside one and a `MessagePort` have in common. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

/** The page asks. `id` names the request in every message that belongs to it. */
export type Request =
  | { id: number; op: "load"; source: unknown; options: object }
  /** `tells`: whether the page wants to know how far the prompt is. */
  | { id: number; op: "chat"; ask: Ask; tells: boolean }
  | { id: number; op: "batch"; items: readonly AcceptedItem[]; settings: Omit<BatchSettings, "signal" | "onResult"> }
  | { id: number; op: "complete"; request: unknown; options: object }
  | { id: number; op: "dispose" }
  | { id: number; op: "abort" }
  /** The answer to `read`: what a weight source of the page gave. */
  | { id: number; op: "file"; call: number; value?: unknown; error?: PortableError | undefined };

/** The worker answers: any number of progress, piece and read messages, then one of done and error. */
export type Response =
  | { id: number; type: "progress"; progress: Progress }
  | { id: number; type: "prompt"; progress: PromptProgress }
  | { id: number; type: "piece"; piece: string }
  /** Of a streamed completion: it was let in, and what came of it since. */
  | { id: number; type: "begun" }
  | { id: number; type: "chunk"; chunk: ChatCompletionChunk }
  /** An item of a batch is done. */
  | { id: number; type: "result"; index: number; result: unknown; error?: PortableError | undefined }
  | { id: number; type: "read"; call: number; page: number; file: string; offset?: number | undefined; length?: number | undefined }
  | { id: number; type: "done"; value: unknown; state: ModelState }
  | { id: number; type: "error"; error: PortableError };

/** What a page may ask of a model without waiting, as of the last answer. */
export interface ModelState {
  adapter: string;
  weights: MatrixDtype;
  memory: { bytes: number; entries: { label: string; bytes: number }[] };
}

/** Before a model is loaded, and after it was disposed. */
export const NO_STATE: ModelState = { adapter: "", weights: "f32", memory: { bytes: 0, entries: [] } };

/** Marks a source that stays in the page, by its place among such: its files are read over the port. */
export interface PageSource {
  page: number;
}

/** An error as it travels: structured cloning would drop `code` and `hint`. */
export type PortableError = Pick<Error, "message" | "stack"> & Partial<Pick<EngineError, "code" | "hint" | "partialText" | "param">>;

/** An error, or whatever was thrown, as it travels. */
export function encodeError(error: unknown): PortableError {
  const { message, stack, code, hint, partialText, param } = (error instanceof Error ? error : new Error(String(error))) as EngineError;
  return error instanceof EngineError ? { code, message, hint, partialText, param, stack } : { message, stack };
}

/** The same class with the same code; where it was thrown in the worker is in `cause`. */
export function decodeError({ code, message, hint, partialText, param, stack }: PortableError): Error {
  if (!code) return new Error(message, { cause: stack });
  return new EngineError(code, message, { hint, partialText, param, cause: stack });
}
