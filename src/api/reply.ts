import { aborted, EngineError, onAbort, throwIfAborted } from "../errors.ts";
import type { PromptProgress } from "../generate/request.ts";
import type { Box } from "../media/boxes.ts";
import { described } from "../options.ts";
import { leaving } from "./aborting.ts";
import type { Accepted, Ask } from "./asking.ts";
import type { Message } from "./messages.ts";

/** How many tokens an answer took. */
export interface Usage {
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
  /** Of the prompt: what was computed, vision included. */
  prefilledTokens: number;
  /** Of the prompt: what an earlier answer had left in the KV cache. */
  cachedTokens: number;
}

/** Milliseconds. */
export interface Timings {
  /** Decoding and tiling the pictures, tokenising. */
  prepare: number;
  /** From the model's turn to the first token: vision and prefill. */
  firstToken: number;
  /** From the first token to the last. */
  decode: number;
}

/** A whole answer, and what it took. */
export interface ChatResult {
  text: string;
  /** New ids, the stop token included. */
  tokenIds: number[];
  promptTokenIds: number[];
  usage: Usage;
  timings: Timings;
  /** `stop`: the model ended its turn, or a stop string came; `length`: maxTokens or the context ended it. */
  finishReason: "stop" | "length";
  /** With it the same request gives the same ids on the same adapter; undefined where decoding was greedy. */
  seed: number | undefined;
  /** What the answer points at (`<box>`), also where the text, as upstream's, leaves the tags out. */
  boxes: Box[];
  /** What was said so far, this answer included, for the next `chat`. It survives JSON and `structuredClone`. */
  history: Message[];
}

/** The last answer of an item of a batch, and those of all its questions. */
export interface BatchAnswer extends ChatResult {
  turns: ChatResult[];
}

/** An item of a batch that could not be answered. */
export interface BatchFailure {
  error: EngineError;
}

/** What became of an item of a batch. */
export type BatchResult = BatchAnswer | BatchFailure;

/** Every failure of a request as this library's error: what the platform threw on an abort, and what nobody has foreseen. */
export function asEngineError(error: unknown, signal: AbortSignal | undefined): EngineError {
  if (error instanceof EngineError) return error;
  if (signal?.aborted) return aborted(error);
  const what = error instanceof Error ? `${error.name}: ${error.message}` : described(error);
  const hint = "if what you gave is right, report it with the stack of this error's cause";
  return new EngineError("bad-input", `the request failed in a way that was not foreseen: ${what}`, { hint, cause: error });
}

/** The error of a reply, with the text that had come before it. */
function withText(error: unknown, partialText: string): unknown {
  if (!(error instanceof EngineError) || (partialText === "" && error.code !== "aborted")) return error;
  const { code, message, hint, cause, param, stack } = error;
  return Object.assign(new EngineError(code, message, { hint, cause, param, partialText }), { stack });
}

/**
 * An answer under way: a promise of the whole, which can be iterated for its pieces; both work, in any order, any number of times.
 * Leaving an iteration early aborts the generation. An error has the text that had come in `partialText`.
 */
export class ChatReply extends Promise<ChatResult> implements AsyncIterable<string> {
  readonly #pieces: string[] = [];
  readonly #abort: AbortController;
  #done = false;
  #wake: (() => void)[] = [];

  constructor(abort: AbortController, run: (emit: (piece: string) => void) => Promise<ChatResult>) {
    let settle!: (result: Promise<ChatResult>) => void;
    super((resolve) => {
      settle = resolve;
    });
    this.#abort = abort;
    const notify = () => {
      for (const wake of this.#wake.splice(0)) wake();
    };
    const ended = () => {
      this.#done = true;
      notify();
    };
    const result = run((piece) => {
      this.#pieces.push(piece);
      notify();
    }).catch((error: unknown) => Promise.reject(withText(error, this.#pieces.join(""))));
    result.then(ended, ended);
    settle(result);
    this.catch(() => {}); // told to whoever awaits or iterates; alone it must not end the process
  }

  /** What `then`, `catch` and `finally` give is a plain promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  /** The answer's pieces, as they come; none after an abort, also of those that had come. */
  [Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    return leaving(this.#read(), () => this.#abort.abort());
  }

  async *#read(): AsyncGenerator<string, void, void> {
    let next = 0;
    while (true) {
      while (next < this.#pieces.length) {
        if (this.#abort.signal.aborted) await this; // throws, unless the answer had ended before
        yield this.#pieces[next++]!;
      }
      if (this.#done) break;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    await this; // a failure is thrown here, after the pieces that came before it
  }
}

/** Answers a question: gives its pieces to `emit` as they come, and tells how far the prompt is. */
export type Run = (
  ask: Ask,
  signal: AbortSignal,
  emit: (piece: string) => void,
  onProgress: ((progress: PromptProgress) => void) | undefined,
) => Promise<ChatResult>;

/**
 * Starts a reply: reads at once what was given, and then runs. Whatever is wrong rejects the reply, which never throws: one place to
 * catch, as with any other promise.
 */
export function startReply(accept: () => Accepted, run: Run): ChatReply {
  const abort = new AbortController();
  return new ChatReply(abort, async (emit) => {
    let leave = () => {};
    let thrown: { error: unknown } | undefined; // by the caller's own function
    try {
      const { ask, signal, onProgress } = accept();
      leave = onAbort(signal, () => abort.abort(signal?.reason));
      throwIfAborted(abort.signal);
      const tell = (progress: PromptProgress): void => {
        if (abort.signal.aborted) return;
        try {
          onProgress!(progress);
        } catch (error) {
          thrown = { error };
          abort.abort();
        }
      };
      return await run(ask, abort.signal, emit, onProgress && tell);
    } catch (error) {
      throw thrown ? thrown.error : asEngineError(error, abort.signal);
    } finally {
      leave();
    }
  });
}
