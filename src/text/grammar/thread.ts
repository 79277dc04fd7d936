import { EngineError } from "../../errors.ts";
import { type Ebnf, type Grammars, grammarsOf, type Matcher } from "./engine.ts";

// The script of Node's thread that holds answers to grammars (see platform/node-thread.ts): compiling one, and masks of some, take long.

/** What the thread is asked: first a vocabulary; then for a grammar's beginning, and with its number to go on there, and at last to forget it. */
export type Ask =
  | { vocabulary: string; rows: number; stopIds: readonly number[] }
  | Ebnf
  | { place: number; ids: readonly number[]; force: boolean; jumped: boolean }
  | { over: number };

/** What it answers to the ask of that number. */
export type Answer = { ask: number } & ({ value: unknown } | { error: PlainError });

/** An error as it can be posted; the library's own with all that it says. */
type PlainError = ReturnType<EngineError["toJSON"]> | { code?: undefined; message: string };

interface Scope {
  addEventListener(type: "message", listener: (event: { data: { ask: number } & Ask }) => void): void;
  postMessage(answer: Answer, transfer: ArrayBufferLike[]): void;
}

const scope = globalThis as unknown as Scope;
const places = new Map<number, Matcher>();
let grammars: Grammars;

async function answer(number: number, ask: Ask): Promise<unknown> {
  if ("vocabulary" in ask) grammars = await grammarsOf(ask.vocabulary, ask.rows, new Set(ask.stopIds));
  else if ("ebnf" in ask) places.set(number, await grammars.begin(ask));
  else if ("place" in ask) return places.get(ask.place)!.advance(ask.ids, ask.force, ask.jumped);
  else {
    places.get(ask.over)!.dispose();
    places.delete(ask.over);
  }
  return number;
}

scope.addEventListener("message", ({ data: { ask, ...rest } }) => {
  answer(ask, rest).then(
    (value) => {
      const next = (value as { next?: unknown }).next;
      scope.postMessage({ ask, value }, next instanceof Uint32Array ? [next.buffer] : []);
    },
    (cause) => {
      scope.postMessage({ ask, error: cause instanceof EngineError ? cause.toJSON() : { message: String(cause?.message ?? cause) } }, []);
    },
  );
});
