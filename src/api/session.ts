import type { GenerationOptions } from "./generation.ts";
import type { HistoryTurn, PromptRequest } from "./prompt.ts";
import type { ChatReply } from "./reply.ts";

export interface SessionOptions {
  /** Replaces the model's system message. */
  system?: string | undefined;
}

/** What `send` takes: a turn's own pictures, and how its answer is generated. */
export interface SendOptions extends Omit<PromptRequest, "question" | "history" | "system">, GenerationOptions {}

type Ask = (
  question: string,
  signal: AbortSignal | undefined,
  options: () => Promise<SendOptions & { system: string | undefined; history: readonly HistoryTurn[] }>,
) => ChatReply;

/**
 * A conversation. Each turn computes only what is new: the turns before are still in the model's KV cache, unless another chat has used
 * it meanwhile, which costs time and changes nothing else.
 */
export class Session {
  readonly #ask: Ask;
  readonly #system: string | undefined;
  #history: readonly HistoryTurn[] = [];
  #tail: Promise<void> = Promise.resolve();

  constructor(ask: Ask, { system }: SessionOptions) {
    this.#ask = ask;
    this.#system = system;
  }

  /** The turns so far. */
  get history(): readonly HistoryTurn[] {
    return this.#history;
  }

  /**
   * Asks the next question, after the answers to those before. A turn that fails or is aborted is as if it had not been asked.
   *
   * @throws (from the reply) as `InternVL.chat`
   */
  send(question: string, options: SendOptions = {}): ChatReply {
    const before = this.#tail;
    const reply = this.#ask(question, options.signal, async () => {
      await before;
      return { ...options, system: this.#system, history: this.#history };
    });
    const after = reply.then(
      ({ history }) => {
        this.#history = history;
      },
      () => {},
    );
    this.#tail = before.then(() => after); // a turn that is aborted while it waits must not let the next one overtake
    return reply;
  }
}
