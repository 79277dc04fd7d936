import { readyOrAborted } from "./aborting.ts";
import { acceptSend, acceptSession, continued } from "./accept.ts";
import type { Ask } from "./asking.ts";
import type { GenerationOptions } from "./generation.ts";
import { type History, type Message, messagesOf } from "./messages.ts";
import type { PromptOptions } from "./prompt.ts";
import { type ChatReply, type Run, startReply } from "./reply.ts";

/** What a session begins with. */
export interface SessionOptions {
  /** Replaces the model's system message. */
  system?: string | undefined;
  /** What was said before: the history of an earlier session, or messages. */
  history?: History | undefined;
}

/** What `send` takes: a turn's own pictures, and how its answer is generated. */
export interface SendOptions extends Omit<PromptOptions, "history" | "system">, GenerationOptions {}

/** Messages that whoever has them may change. */
const copied = (messages: readonly Message[]): Message[] => messages.map((message) => ({ ...message }));

/**
 * A conversation. Each turn computes only what is new: the turns before are still in the model's KV cache, unless another chat has used
 * it meanwhile, which costs time and changes nothing else.
 */
export class Session {
  readonly #run: Run;
  readonly #system: string | undefined;
  #history: readonly Message[];
  #tail: Promise<void> = Promise.resolve();

  /** @throws EngineError bad-input */
  constructor(run: Run, options?: unknown) {
    const { system, ...before } = acceptSession(options);
    this.#run = run;
    this.#system = system;
    this.#history = messagesOf({ system, ...before });
  }

  /** What was said so far, as `reply.history` has it. */
  get history(): readonly Message[] {
    return copied(this.#history);
  }

  /**
   * Asks the next question, after the answers to those before. A turn that fails or is aborted is as if it had not been asked.
   *
   * @throws (from the reply) as `InternVL.chat`
   *
   * @example
   * ```ts
   * const { text } = await vlm.session().send("What shape is it?", { images: ["photo.png"] });
   * console.log(text); // A triangle.
   * ```
   */
  send(question: string | readonly Message[], options?: SendOptions): ChatReply {
    const before = this.#tail;
    const ready = async (ask: Ask): Promise<Ask> => {
      await before;
      const start = acceptSession({ history: this.#history });
      return continued(ask, { ...start, system: this.#system ?? start.system });
    };
    const reply = startReply(
      () => acceptSend(question, options),
      async (ask, signal, ...told) => this.#run(await readyOrAborted(ready(ask), signal), signal, ...told),
    );
    const after = reply.then(
      ({ history }) => {
        this.#history = copied(history);
      },
      () => {},
    );
    this.#tail = before.then(() => after); // a turn that is aborted while it waits must not let the next one overtake
    return reply;
  }
}
