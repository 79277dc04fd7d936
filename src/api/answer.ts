import type { Usage } from "../generate/request.ts";
import { StreamDecoder } from "../text/stream.ts";
import { TEMPLATES, type Template } from "../text/template.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Ask } from "./asking.ts";
import type { Generation } from "./generation.ts";
import type { Parts } from "./parts.ts";
import { type PreparedPrompt, preparePrompt } from "./prompt.ts";
import type { ChatResult } from "./reply.ts";

/**
 * Prepares a question and has it answered; `maxContext` is how many tokens prompt and answer may have, the model's by default.
 *
 * @throws EngineError bad-input, bad-image, context-overflow, network, aborted, disposed, device-lost
 */
export async function answerWith(
  { tokenizer, config, imageContextId, stopIds, pictures: cache, model, scheduler }: Parts,
  ask: Ask,
  signal: AbortSignal,
  emit: (piece: string) => void,
  maxContext = model.maxContext,
): Promise<ChatResult> {
  const began = performance.now();
  const prepared = await preparePrompt(ask, { config, tokenizer, cache, signal, context: maxContext });
  const answer = new Answer(
    prepared,
    ask.generation,
    { tokenizer, stopIds, template: TEMPLATES[config.template] },
    performance.now() - began,
    emit,
  );
  const { inputIds, tiles: images } = prepared;
  const { sampling, maxTokens } = ask.generation;
  const request = { inputIds, images, imageContextId, sampling, maxTokens, maxContext };
  return answer.finish(await scheduler.admit(request, (id) => answer.accept(id), signal));
}

/** Turns the ids of one answer into text as they come, and says when it ends. */
class Answer {
  readonly #prepared: PreparedPrompt;
  readonly #generation: Generation;
  readonly #stopIds: ReadonlySet<number>;
  readonly #emit: (piece: string) => void;
  readonly #decoder: StreamDecoder;
  readonly #prepareMs: number;
  readonly #tokenIds: number[] = [];
  #text = "";
  #firstAt = 0;
  #stopped = false;

  constructor(
    prepared: PreparedPrompt,
    generation: Generation,
    { tokenizer, stopIds, template }: { tokenizer: Tokenizer; stopIds: ReadonlySet<number>; template: Template },
    prepareMs: number,
    emit: (piece: string) => void,
  ) {
    this.#prepared = prepared;
    this.#generation = generation;
    this.#stopIds = stopIds;
    this.#emit = emit;
    this.#decoder = new StreamDecoder(tokenizer, generation.stop, template);
    this.#prepareMs = prepareMs;
  }

  /** Takes a new id; true when the answer ends with it. */
  accept(id: number): boolean {
    if (this.#tokenIds.length === 0) this.#firstAt = performance.now();
    this.#tokenIds.push(id);
    this.#out(this.#decoder.push(id));
    this.#stopped = this.#stopIds.has(id) || this.#decoder.stopped;
    return this.#stopped;
  }

  #out(piece: string): void {
    if (!piece) return;
    this.#text += piece;
    this.#emit(piece);
  }

  /** No more ids come. */
  finish({ prefilledTokens, cachedTokens, began }: Usage): ChatResult {
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
      timings: { prepare: this.#prepareMs, firstToken: this.#firstAt - began, decode: performance.now() - this.#firstAt },
      finishReason: this.#stopped ? "stop" : "length",
      seed: sampling.temperature > 0 ? sampling.seed : undefined,
      history: [...messages, { role: "assistant", content: this.#text }],
    };
  }
}
