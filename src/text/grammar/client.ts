import { platform } from "#platform";
import { disposed, EngineError } from "../../errors.ts";
import type { Thread } from "../../platform/thread.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { ebnfOf, grammarsOf, type Matcher, type Step, vocabularyOf } from "./engine.ts";
import type { Format } from "./schema.ts";
import type { Answer, Ask } from "./thread.ts";
import { QUICK_WORK } from "./work.ts";

/** Where an answer is in its grammar, in whatever thread that is. */
export type Place = Pick<Matcher, "advance" | "dispose">;

/** A tokenizer's grammars, in whatever thread they are. */
export interface OpenGrammars {
  /** The beginning of a format's grammar. @throws EngineError bad-input, where it cannot be enforced */
  matcher(format: Format): Promise<Place>;
  dispose(): Promise<void>;
}

/** Set once no thread could be started. */
let without = false;

/** Opens grammars: in a thread of their own where the platform has one. */
export async function openGrammars(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<OpenGrammars> {
  const { startGrammars } = platform;
  if (startGrammars && !without) {
    try {
      const open = async () =>
        Line.open(await startGrammars(), { vocabulary: vocabularyOf(tokenizer, rows, stopIds), rows, stopIds: [...stopIds] });
      return inThreads(open, await open());
    } catch (cause) {
      without = true;
      console.warn(`internvl: answers with a schema hold up others, since no thread can be started for them: ${(cause as Error).message}`);
    }
  }
  return grammarsOf(vocabularyOf(tokenizer, rows, stopIds), rows, stopIds);
}

/**
 * Grammars in threads: what takes long to compile has one of its own, which is started when it is needed, and holds up no answer but those that
 * have such a grammar too. One that broke off fails those who are in it, and the next comer has another.
 */
function inThreads(open: () => Promise<Line>, first: Line): OpenGrammars {
  const lines: { quick: Promise<Line>; slow?: Promise<Line> } = { quick: Promise.resolve(first) };
  let closed = false;
  const opened = async (which: "quick" | "slow"): Promise<Line> => {
    if (closed) throw disposed();
    const before = lines[which];
    const alive = await before?.then(
      ({ ended }) => !ended,
      () => false,
    );
    if (closed) throw disposed();
    if (!alive && lines[which] === before) lines[which] = open();
    return lines[which]!;
  };
  return {
    async matcher(format) {
      const grammar = ebnfOf(format);
      const line = await opened(grammar.work > QUICK_WORK ? "slow" : "quick");
      const place = await line.ask<number>(grammar);
      return {
        advance: (ids, force, jumped) => line.ask<Step>({ place, ids, force, jumped }),
        dispose: () => void line.ask({ over: place }).catch(() => {}), // with its thread it is gone, too
      };
    },
    async dispose() {
      closed = true;
      for (const each of Object.values(lines)) {
        await each.then(
          (line) => line.end(disposed()),
          () => {},
        );
      }
    },
  };
}

/** What is asked of a thread, and comes back. */
class Line {
  readonly #thread: Thread;
  readonly #asked = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  #count = 0;
  /** Why nothing is answered any more. */
  ended: EngineError | undefined;

  private constructor(thread: Thread) {
    this.#thread = thread;
    thread.listen(
      (message) => this.#hear(message as Answer),
      (cause) =>
        this.end(
          new EngineError("out-of-memory", `the thread that holds answers to their schemas broke off: ${cause.message}`, {
            hint: "ask again, with a smaller schema",
            cause,
          }),
        ),
    );
  }

  static async open(thread: Thread, first: Ask): Promise<Line> {
    const line = new Line(thread);
    try {
      await line.ask(first);
      return line;
    } catch (error) {
      thread.end();
      throw error;
    }
  }

  ask<T>(what: Ask): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.ended) throw this.ended;
      const ask = ++this.#count;
      this.#asked.set(ask, { resolve: resolve as (value: unknown) => void, reject });
      this.#thread.hold(true); // the process does not exit meanwhile
      this.#thread.post({ ask, ...what }, []);
    });
  }

  #hear(answer: Answer): void {
    const { resolve, reject } = this.#asked.get(answer.ask)!;
    this.#asked.delete(answer.ask);
    if (this.#asked.size === 0) this.#thread.hold(false);
    if ("value" in answer) resolve(answer.value);
    else {
      const { error } = answer;
      reject(error.code ? new EngineError(error.code, error.message, error) : new Error(error.message));
    }
  }

  /** Ends the thread; whoever waits for it fails with `error`. */
  end(error: EngineError): void {
    this.ended = error;
    this.#thread.end();
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }
}
