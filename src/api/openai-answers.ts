import { aborted, EngineError, onAbort, throwIfAborted } from "../errors.ts";
import type { Told } from "../generate/engine.ts";
import { type AnswerOptions, answerPrompt } from "./answer.ts";
import type { Generation } from "./generation.ts";
import { logprobOf } from "./logprobs.ts";
import { addCalls, callFinder } from "./openai-calls.ts";
import type { ChatToolCallDelta, CompletionTimings, CompletionUsage, FinishReason, TokenLogprob } from "./openai-types.ts";
import type { Parts } from "./parts.ts";
import type { PreparedPrompt } from "./prompt.ts";
import type { ChatResult } from "./reply.ts";

/** A prompt, and how it is answered. */
export interface Asking {
  prompt: PreparedPrompt;
  generation: Generation;
}

/** What is told of an answer besides its text. */
export interface AnswersOptions {
  /** How many of the most probable tokens come beside each token; undefined: no probabilities at all. */
  logprobs?: number | undefined;
  /** Looks for calls of tools: as they are written, or each as a whole. */
  tools?: "streamed" | "whole" | undefined;
  raw?: boolean | undefined;
  /** How long the prompt took to be read, in milliseconds. */
  prepareMs: number;
  observe?: Observe | undefined;
}

/** Called for each answer that has ended: milliseconds from the request to its first token, and what came of it. */
export type Observe = (firstMs: number, result: ChatResult, finish: FinishReason) => void;

/** What an answer has got since it was last asked for. */
export interface News {
  index: number;
  text: string;
  tokens: TokenLogprob[];
  calls: ChatToolCallDelta[];
  finish?: FinishReason | undefined;
}

const nothing = (index: number): News => ({ index, text: "", tokens: [], calls: [] });

/**
 * Several answers under way. What came and was not read yet is one piece an answer, however many tokens it was: a reader who is slow, or
 * reads nothing, costs the text of his answer and no more, and keeps no slot. After an abort none of it comes.
 */
export class Answers {
  readonly #aborts: AbortController[]; // one an answer: Node warns of a signal that more than ten listen to
  readonly #news: News[];
  readonly #results: ChatResult[] = [];
  #called: boolean[] = []; // which of them have called a tool
  #failed: { error: unknown } | undefined;
  #open: number;
  #wake: (() => void) | undefined;
  readonly #leave: () => void;

  private constructor(count: number, signal: AbortSignal | undefined) {
    this.#news = Array.from({ length: count }, (_, i) => nothing(i));
    this.#open = count;
    this.#aborts = this.#news.map(() => new AbortController());
    this.#leave = onAbort(signal, () => this.#end(aborted(signal?.reason)));
  }

  /** Resolves when all were let in. @throws EngineError bad-input, context-overflow, aborted, disposed, device-lost */
  static async start(parts: Parts, asking: readonly Asking[], signal: AbortSignal | undefined, options: AnswersOptions): Promise<Answers> {
    throwIfAborted(signal);
    const answers = new Answers(asking.length, signal);
    let waiting = asking.length;
    await new Promise<void>((resolve, reject) => {
      const admitted = () => {
        if (--waiting === 0) resolve();
      };
      for (const [i, each] of asking.entries()) {
        answers.#answer(parts, each, i, { ...options, admitted }).catch((error: unknown) => {
          answers.#fail(error);
          reject(error);
        });
      }
    });
    return answers;
  }

  async #answer(
    parts: Parts,
    { prompt, generation }: Asking,
    index: number,
    { logprobs, tools, raw, prepareMs, admitted, observe }: AnswersOptions & Pick<AnswerOptions, "admitted">,
  ): Promise<void> {
    const began = performance.now() - prepareMs;
    const finder = tools ? callFinder(tools === "streamed") : undefined;
    const add = (text: string, calls: ChatToolCallDelta[] = [], tokens: TokenLogprob[] = []) => {
      const news = this.#news[index]!;
      news.text += text;
      addCalls(news.calls, calls);
      news.tokens.push(...tokens);
      if (calls.length > 0) this.#called[index] = true;
      if (text !== "" || calls.length > 0) this.#notify();
    };
    const emit = (piece: string) => {
      const { text, calls } = finder?.push(piece) ?? { text: piece, calls: [] };
      add(text, calls);
    };
    const { tokenizer, stopIds } = parts;
    const before: number[] = [];
    const watch = (id: number, told: Told) => {
      if (!stopIds.has(id)) add("", [], [logprobOf(tokenizer, told, id, logprobs!, before, generation.sampling)]);
      before.push(id);
    };
    const wanted = { admitted, raw, watch: logprobs === undefined ? undefined : watch };
    const result = await answerPrompt(parts, prompt, generation, this.#aborts[index]!.signal, emit, wanted, prepareMs);
    const left = finder?.end();
    if (left) add(left.text, left.calls);
    this.#results[index] = result;
    const finish = this.#called[index] && result.finishReason !== "length" ? "tool_calls" : result.finishReason;
    this.#news[index]!.finish = finish;
    observe?.(performance.now() - result.timings.decode - began, result, finish);
    if (--this.#open === 0) this.#leave();
    this.#notify();
  }

  #fail(error: unknown): void {
    this.#failed ??= { error };
    for (const abort of this.#aborts) abort.abort();
    this.#leave();
    this.#notify();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** What comes, until all have ended; leaving early aborts them. One reader. @throws EngineError aborted, disposed, device-lost */
  async *news(): AsyncGenerator<News, void, void> {
    let unfinished = this.#news.length;
    try {
      while (unfinished > 0) {
        let any = false;
        for (const [i, news] of this.#news.entries()) {
          if (news.text === "" && news.calls.length === 0 && news.finish === undefined) continue;
          this.#news[i] = nothing(i);
          any = true;
          if (news.finish) unfinished--;
          yield news;
        }
        if (any) continue;
        if (this.#failed) throw this.#failed.error;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.abort();
    }
  }

  /** Ends all at once: what came and was not read yet is nobody's any more. */
  #end(error: EngineError): void {
    if (this.#open === 0) return;
    for (const i of this.#news.keys()) this.#news[i] = nothing(i); // in place: a reader may be among them
    this.#fail(error);
  }

  /** Frees the slots; nothing more comes. */
  abort(): void {
    this.#end(new EngineError("aborted", "the answers were left"));
  }

  /** All of every answer. @throws EngineError aborted, disposed, device-lost */
  async whole(): Promise<News[]> {
    const whole = this.#news.map((_, i) => nothing(i));
    for await (const { index, text, tokens, calls, finish } of this.news()) {
      const so = whole[index]!;
      so.text += text;
      so.tokens.push(...tokens);
      addCalls(so.calls, calls);
      so.finish = finish;
    }
    return whole;
  }

  /** What all of them cost; a prompt that has several answers is counted once. Once all have ended. */
  cost(prompts: number): { usage: CompletionUsage; timings: CompletionTimings } {
    const results = this.#results;
    const each = results.length / prompts;
    const sum = (of: (result: ChatResult) => number, list = results) => list.reduce((total, result) => total + of(result), 0);
    const first = results.filter((_, i) => i % each === 0);
    const prompt = sum(({ usage }) => usage.promptTokens, first);
    const completion = sum(({ usage }) => usage.completionTokens);
    const cached = sum(({ usage }) => usage.cachedTokens, first);
    const computed = sum(({ usage }) => usage.prefilledTokens);
    const promptMs = sum(({ timings }) => timings.firstToken);
    const predictedMs = Math.max(...results.map(({ timings }) => timings.decode));
    const rate = (n: number, ms: number) => (ms > 0 ? (1000 * n) / ms : 0);
    return {
      usage: {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt + completion,
        prompt_tokens_details: { cached_tokens: cached },
      },
      timings: {
        cache_n: cached,
        prompt_n: computed,
        prompt_ms: promptMs,
        prompt_per_token_ms: promptMs / Math.max(computed, 1),
        prompt_per_second: rate(computed, promptMs),
        predicted_n: completion,
        predicted_ms: predictedMs,
        predicted_per_token_ms: predictedMs / Math.max(completion, 1),
        predicted_per_second: rate(completion, predictedMs),
      },
    };
  }
}
