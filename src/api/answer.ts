import type { GenerateRequest, PrefillUsage } from "../generate/loop.ts";
import { StreamDecoder } from "../text/stream.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Generation } from "./generation.ts";
import type { PreparedPrompt } from "./prompt.ts";
import type { ChatResult } from "./reply.ts";

/** Turns the ids of one answer into text as they come, and says when it ends. */
export class Answer {
  readonly #prepared: PreparedPrompt;
  readonly #generation: Generation;
  readonly #stopId: number;
  readonly #emit: (piece: string) => void;
  readonly #decoder: StreamDecoder;
  readonly #prepareMs: number;
  readonly #tokenIds: number[] = [];
  #text = "";
  #started = 0;
  #firstToken = 0;
  #stopped = false;

  constructor(
    prepared: PreparedPrompt,
    generation: Generation,
    { tokenizer, stopId }: { tokenizer: Tokenizer; stopId: number },
    prepareMs: number,
    emit: (piece: string) => void,
  ) {
    this.#prepared = prepared;
    this.#generation = generation;
    this.#stopId = stopId;
    this.#emit = emit;
    this.#decoder = new StreamDecoder(tokenizer, generation.stop);
    this.#prepareMs = prepareMs;
  }

  /** What the model is asked. The model's turn has come: the clock for `firstToken` starts here. */
  request(imageContextId: number, signal: AbortSignal): GenerateRequest & { maxTokens: number } {
    this.#started = performance.now();
    const { inputIds, tiles } = this.#prepared;
    const { sampling, maxTokens } = this.#generation;
    return { inputIds, images: tiles, imageContextId, sampling, maxTokens, signal };
  }

  /** Takes a new id; true when the answer ends with it. */
  accept(id: number): boolean {
    if (this.#tokenIds.length === 0) this.#firstToken = performance.now() - this.#started;
    this.#tokenIds.push(id);
    this.#out(this.#decoder.push(id));
    this.#stopped = id === this.#stopId || this.#decoder.stopped;
    return this.#stopped;
  }

  /** New ids so far. */
  get tokenIds(): readonly number[] {
    return this.#tokenIds;
  }

  #out(piece: string): void {
    if (!piece) return;
    this.#text += piece;
    this.#emit(piece);
  }

  /** No more ids come. */
  finish({ prefilledTokens, cachedTokens }: PrefillUsage): ChatResult {
    this.#out(this.#decoder.end());
    const { messages, inputIds } = this.#prepared;
    const { sampling } = this.#generation;
    const completionTokens = this.#tokenIds.length;
    return {
      text: this.#text,
      tokenIds: this.#tokenIds,
      promptTokenIds: inputIds,
      usage: {
        promptTokens: inputIds.length,
        completionTokens,
        totalTokens: inputIds.length + completionTokens,
        prefilledTokens,
        cachedTokens,
      },
      timings: { prepare: this.#prepareMs, firstToken: this.#firstToken, decode: performance.now() - this.#started - this.#firstToken },
      finishReason: this.#stopped ? "stop" : "length",
      seed: sampling.temperature > 0 ? sampling.seed : undefined,
      history: [...messages, { role: "assistant", content: this.#text }],
    };
  }
}
