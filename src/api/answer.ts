import { late } from "../errors.ts";
import type { Told } from "../generate/engine.ts";
import type { Accept } from "../generate/job.ts";
import type { PromptProgress, Usage } from "../generate/request.ts";
import { parseBoxes } from "../media/boxes.ts";
import { wrong } from "../options.ts";
import { StreamDecoder } from "../text/stream.ts";
import { TEMPLATES } from "../text/template.ts";
import type { Ask } from "./asking.ts";
import type { Generation } from "./generation.ts";
import { pictureNames } from "./messages.ts";
import type { Parts } from "./parts.ts";
import { type PreparedPrompt, preparePrompt } from "./prompt.ts";
import type { ChatResult } from "./reply.ts";

/** Options of answering a prompt. */
export interface AnswerOptions {
  /** Tokens that prompt and answer may have; the model's by default. */
  maxContext?: number | undefined;
  /** Called once the scheduler has taken the request: nothing is wrong with it. */
  admitted?: ((promptTokens: number) => void) | undefined;
  /** Called with each new id and how probable it was, the stop id included, before its text is emitted. */
  watch?: ((id: number, told: Told) => void) | undefined;
  /** Called as the prompt gets on. */
  onProgress?: ((progress: PromptProgress) => void) | undefined;
  /** Keeps white space at the answer's ends. */
  raw?: boolean | undefined;
}

/** @throws EngineError bad-input, bad-image, context-overflow, network, aborted */
export function prepareAsk(
  { tokenizer, config, pictures: cache, model }: Parts,
  ask: Ask,
  signal: AbortSignal,
  context = model.maxContext,
) {
  return preparePrompt(ask, { config, tokenizer, cache, signal, context });
}

/**
 * Prepares a question and has it answered.
 *
 * @throws EngineError bad-input, bad-image, context-overflow, network, aborted, disposed, device-lost
 */
export async function answerWith(
  parts: Parts,
  ask: Ask,
  signal: AbortSignal,
  emit: (piece: string) => void,
  options: Pick<AnswerOptions, "maxContext" | "onProgress"> = {},
): Promise<ChatResult> {
  const began = performance.now();
  const prepared = await prepareAsk(parts, ask, signal, options.maxContext);
  return answerPrompt(parts, prepared, ask.generation, signal, emit, options, performance.now() - began);
}

/** @throws EngineError bad-input where a bias is of no id of the model's */
export function checkBiases({ config }: Parts, { sampling }: Generation, name: string): void {
  const { vocabSize } = config.language;
  const unknown = sampling.logitBias.find(([id]) => id >= vocabSize);
  if (unknown) throw wrong(name, unknown[0], `token ids below ${vocabSize}`);
}

/** Has a prompt answered. @throws EngineError bad-input, context-overflow, aborted, disposed, device-lost */
export async function answerPrompt(
  parts: Parts,
  prepared: PreparedPrompt,
  generation: Generation,
  signal: AbortSignal,
  emit: (piece: string) => void,
  { maxContext = parts.model.maxContext, admitted, watch, onProgress, raw }: AnswerOptions,
  prepareMs: number,
): Promise<ChatResult> {
  const { tokenizer, config, imageContextId, stopIds, scheduler } = parts;
  const { sampling, maxTokens, format } = generation;
  checkBiases(parts, generation, "logitBias");
  const constraint =
    format && (await (await late("what holds answers to a grammar", import("./constraint.ts"))).constraintOf(parts, format));
  // What follows a grammar is its text as it is, to the last space.
  const template = format ? { trimmed: false, exact: true } : raw ? { trimmed: false } : TEMPLATES[config.template];
  const answer = new Answer(prepared, generation, new StreamDecoder(tokenizer, generation.stop, template), stopIds, prepareMs, emit);
  const { inputIds, tiles: images } = prepared;
  const request = { inputIds, images, imageContextId, sampling, constraint, maxTokens, maxContext, tell: watch !== undefined, onProgress };
  const accept: Accept = (id, told) => {
    if (told) watch?.(id, told);
    return answer.accept(id);
  };
  try {
    const running = scheduler.admit(request, accept, signal);
    await Promise.race([running, undefined]); // throws what `admit` has refused at once
    admitted?.(inputIds.length);
    return answer.finish(await running, (ids) => tokenizer.decode(ids));
  } finally {
    void constraint?.dispose(); // when its last mask has been found
  }
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
    decoder: StreamDecoder,
    stopIds: ReadonlySet<number>,
    prepareMs: number,
    emit: (piece: string) => void,
  ) {
    this.#prepared = prepared;
    this.#generation = generation;
    this.#stopIds = stopIds;
    this.#emit = emit;
    this.#decoder = decoder;
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
  finish({ prefilledTokens, cachedTokens, began }: Usage, decode: (ids: number[]) => string): ChatResult {
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
      boxes: parseBoxes(decode(this.#tokenIds), pictureNames(messages)),
      history: [...messages, { role: "assistant", content: this.#text }],
    };
  }
}
