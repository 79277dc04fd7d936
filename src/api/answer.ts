import { late } from "../errors.ts";
import type { Told } from "../generate/engine.ts";
import type { Accept } from "../generate/job.ts";
import type { PromptProgress, Usage } from "../generate/request.ts";
import { parseBoxes } from "../media/boxes.ts";
import { wrong } from "../options.ts";
import { type StreamDecoder, streamDecoder } from "../text/stream.ts";
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
    format && (await (await late("what holds answers to a grammar", import("./constraint.ts"))).constraintOf(parts, format, signal));
  // What follows a grammar is its text as it is, to the last space.
  const template = format ? { trimmed: false, exact: true } : raw ? { trimmed: false } : TEMPLATES[config.template];
  const decoder = streamDecoder(tokenizer, generation.stop, template);
  const answer = answering(prepared, generation, decoder, stopIds, prepareMs, emit);
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
function answering(
  { messages, inputIds }: PreparedPrompt,
  { sampling }: Generation,
  decoder: StreamDecoder,
  stopIds: ReadonlySet<number>,
  prepare: number,
  emit: (piece: string) => void,
) {
  const tokenIds: number[] = [];
  let text = "";
  let firstAt = 0;
  let stopped = false;
  const out = (piece: string): void => {
    if (!piece) return;
    text += piece;
    emit(piece);
  };
  return {
    /** Takes a new id; true when the answer ends with it. */
    accept(id: number): boolean {
      if (tokenIds.length === 0) firstAt = performance.now();
      tokenIds.push(id);
      out(decoder.push(id));
      stopped = stopIds.has(id) || decoder.stopped;
      return stopped;
    },
    /** No more ids come. */
    finish({ prefilledTokens, cachedTokens, began }: Usage, decode: (ids: number[]) => string): ChatResult {
      out(decoder.end());
      const [promptTokens, completionTokens] = [inputIds.length, tokenIds.length];
      return {
        ...{ text, tokenIds, promptTokenIds: inputIds },
        usage: { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens, prefilledTokens, cachedTokens },
        timings: { prepare, firstToken: firstAt - began, decode: performance.now() - firstAt },
        finishReason: stopped ? "stop" : "length",
        seed: sampling.temperature > 0 ? sampling.seed : undefined,
        boxes: parseBoxes(decode(tokenIds), pictureNames(messages)),
        history: [...messages, { role: "assistant", content: text }],
      };
    },
  };
}
