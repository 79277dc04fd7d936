import type { HistoryTurn } from "./prompt.ts";

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
  /** What was said so far, for the next `chat`. */
  history: HistoryTurn[];
}

/**
 * An answer under way: iterate it for its pieces, await it for the whole; both work, in any order, any number of times.
 * Leaving an iteration early aborts the generation.
 */
export class ChatReply implements AsyncIterable<string>, PromiseLike<ChatResult> {
  readonly #pieces: string[] = [];
  readonly #result: Promise<ChatResult>;
  readonly #abort: AbortController;
  #done = false;
  #wake: (() => void)[] = [];

  constructor(abort: AbortController, run: (emit: (piece: string) => void) => Promise<ChatResult>) {
    this.#abort = abort;
    const notify = () => {
      for (const wake of this.#wake.splice(0)) wake();
    };
    this.#result = run((piece) => {
      this.#pieces.push(piece);
      notify();
    }).finally(() => {
      this.#done = true;
      notify();
    });
    this.#result.catch(() => {}); // told to whoever awaits or iterates; alone it must not end the process
  }

  // biome-ignore lint/suspicious/noThenProperty: a reply is awaited as well as iterated
  then<A = ChatResult, B = never>(
    fulfilled?: ((value: ChatResult) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(fulfilled, rejected);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    let next = 0;
    let complete = false;
    try {
      while (true) {
        while (next < this.#pieces.length) yield this.#pieces[next++]!;
        if (this.#done) break;
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
      complete = true;
    } finally {
      if (!complete) this.#abort.abort();
    }
    await this.#result; // a failure is thrown here, after the pieces that came before it
  }
}
