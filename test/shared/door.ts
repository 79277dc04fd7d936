import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineError, type ImageLike, type InternVL } from "../../src/index.ts";
import { isQuick } from "./quick.ts";
import { anyValue } from "./wrong.ts";

const QUESTION = "What shape is it?";
const ANSWER = "A triangle.";
const RUNS = isQuick ? 120 : 300;

/** Chatting, alone or in a worker. */
type Model = Pick<InternVL, "chat" | "session" | "batch" | "memory" | "dispose">;

/** Whether a value is right for a key, said once more in the test's own words; what is right must not be refused, what is wrong must be. */
type Right = (value: unknown) => boolean;

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const whole =
  (from: number, to = Number.MAX_SAFE_INTEGER): Right =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to;
const between =
  (from: number, to: number): Right =>
  (value) =>
    isNumber(value) && value >= from && value <= to;
const oneOf =
  (...words: string[]): Right =>
  (value) =>
    words.includes(value as string);
const isText: Right = (value) => typeof value === "string";
const isFlag: Right = (value) => typeof value === "boolean";
const never: Right = () => false;
/** Some values throw when they are looked at: those are never right. */
const holds = (right: Right, value: unknown): boolean => {
  try {
    return right(value);
  } catch {
    return false;
  }
};
/** Only the empty list is right among the values of this suite: none of them is a picture, a frame or a turn. */
const emptyList: Right = (value) => Array.isArray(value) && value.length === 0;

const isPlain: Right = (value) => {
  if (Object.prototype.toString.call(value) !== "[object Object]") return false;
  const base = Object.getPrototypeOf(value);
  return base === null || Object.getPrototypeOf(base) === null || Object.keys(value as object).length > 0;
};

const GENERATION: Record<string, Right> = {
  maxTokens: whole(1),
  temperature: between(0, 100),
  topP: (value) => isNumber(value) && value > 0 && value <= 1,
  topK: whole(0),
  minP: between(0, 1),
  seed: whole(0),
  repetitionPenalty: (value) => isNumber(value) && value > 0 && value <= 100,
  presencePenalty: between(-2, 2),
  frequencyPenalty: between(-2, 2),
  logitBias: (value) => isPlain(value) && Object.keys(value as object).length === 0, // no key of the suite is a token's id
  // Of objects the empty ones: every other key is a keyword that nobody knows.
  schema: (value) => Object.prototype.toString.call(value) === "[object RegExp]" || (isPlain(value) && JSON.stringify(value) === "{}"),
  stop: (value) =>
    Array.isArray(value)
      ? value.length <= 64 && Array.from(value).every((each) => isText(each) && each !== "")
      : isText(value) && value !== "",
};
const PROMPT: Record<string, Right> = {
  images: emptyList,
  video: never, // a video without frames is none
  history: emptyList,
  system: isText,
  maxTiles: whole(1, 40),
  maxPixels: (value) => isNumber(value) && value > 0,
  maxSide: (value) => isNumber(value) && value > 0,
  allowTruncated: isFlag,
  decoder: oneOf("auto", "js", "native"),
  specialTokens: oneOf("text", "parse"),
};
const signal: Right = never; // no value of the suite is one
const onProgress: Right = (value) => typeof value === "function";
const CHAT = { ...PROMPT, ...GENERATION, signal, onProgress };
const SEND = Object.fromEntries(Object.entries(CHAT).filter(([key]) => key !== "history" && key !== "system"));
const ITEM = Object.fromEntries(Object.entries(CHAT).filter(([key]) => key !== "signal" && key !== "onProgress"));
const BATCH: Record<string, Right> = {
  ...GENERATION,
  rows: whole(1),
  kvBytes: never, // too few for one row, or as many as the machine has: neither is asked here
  maxContext: whole(1), // too small for the question, it is the item's failure
  signal,
  onResult: onProgress,
};

const isAbsent = (value: unknown): boolean => value === undefined || value === null;

/** A key that the object has, or, one time in four, one that it does not. */
export const keyOf = (known: Record<string, Right>): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...Object.keys(known)) },
    {
      weight: 1,
      arbitrary: fc.oneof(
        fc.string({ maxLength: 12 }),
        fc.constantFrom("image", "max_tokens", "__proto__", "constructor", "toString", "prompt", "model"),
      ),
    },
  );

export const withKey = (base: object, key: string, value: unknown): object => {
  const options = { ...base };
  Object.defineProperty(options, key, { value, enumerable: true, configurable: true, writable: true }); // also `__proto__`
  return options;
};

/** Runs a call: what it answers, or the error it refuses with, which must be the library's own. */
export async function outcome(call: () => PromiseLike<unknown>): Promise<{ answer?: unknown; error?: EngineError }> {
  try {
    return { answer: await call() };
  } catch (error) {
    if (!(error instanceof EngineError))
      throw new Error(`not an EngineError: ${String((error as Error)?.stack ?? error)}`, { cause: error });
    expect(error.message.length).toBeLessThan(1000);
    expect(error.message).not.toMatch(/undefined \(reading|is not a function|is not iterable/);
    return { error };
  }
}

/** What is right must be taken, what is wrong refused. */
function check(known: Record<string, Right>, key: string, value: unknown, { error, ...answer }: { error?: unknown }): void {
  const right = Object.hasOwn(known, key) ? isAbsent(value) || holds(known[key]!, value) : value === undefined;
  if (!error) {
    if (!right) throw new Error(`accepted a wrong ${key}, and answered ${JSON.stringify(answer)?.slice(0, 100)}`);
    return;
  }
  if (!(error instanceof EngineError)) throw new Error(`not an EngineError: ${error}`);
  if (error.code === "context-overflow") return; // right, and too long
  if (right) throw new Error(`refused a right ${key}: ${error.code}: ${error.message}`);
  expect(["bad-input", "bad-image", "network"]).toContain(error.code);
}

/**
 * Calls everything that takes values from a caller with values that nobody would expect, and accepts nothing but the library's own error or
 * a right answer. Afterwards the model answers as before, and its memory is what it was.
 */
export function doorSuite(title: string, load: () => Promise<Model>, picture: () => Promise<ImageLike>): void {
  describe(title, () => {
    let vlm: Model;
    let image: ImageLike;
    let bytes: number;
    beforeAll(async () => {
      [vlm, image] = [await load(), await picture()];
      expect((await vlm.chat(QUESTION, { images: [image] })).text).toBe(ANSWER);
      bytes = vlm.memory().bytes;
    });
    afterAll(async () => {
      expect((await vlm.chat(QUESTION, { images: [image] })).text).toBe(ANSWER);
      expect(vlm.memory().bytes).toBe(bytes);
      await vlm.dispose();
    });

    /** Puts values into an object of options, one at a time. */
    async function options(known: Record<string, Right>, base: object, call: (options: object) => PromiseLike<unknown>): Promise<void> {
      await fc.assert(
        fc.asyncProperty(keyOf(known), anyValue, async (key, { value }) =>
          check(known, key, value, await outcome(() => call(withKey(base, key, value)))),
        ),
        { numRuns: RUNS, seed: 11 },
      );
    }
    const few = { maxTokens: 1 };

    it("chat's options", () => options(CHAT, few, (given) => vlm.chat(QUESTION, given)));
    it("send's options", () => options(SEND, few, (given) => vlm.session().send(QUESTION, given)));
    it("session's options", () =>
      options({ system: isText, history: PROMPT.history! }, {}, async (given) => vlm.session(given).send(QUESTION, few)));
    it("batch's options", () => options(BATCH, few, (given) => vlm.batch([{ prompt: QUESTION }], given)));

    it("an item of a batch: it fails alone", async () => {
      const wrongs = fc.sample(fc.tuple(keyOf(ITEM), anyValue), { numRuns: RUNS, seed: 11 });
      const good = { prompt: QUESTION, images: [image] };
      const items = [...wrongs.map(([key, given]) => withKey({ prompt: QUESTION, maxTokens: 1 }, key, given.value)), good];
      const results = await vlm.batch(items as never);
      expect(results.at(-1)).toHaveProperty("text", ANSWER);
      for (const [i, [key, given]] of wrongs.entries()) check(ITEM, key, given.value, results[i] as { error?: unknown });
    });

    it("what stands in place of a question, of options, of items and of an item", async () => {
      await fc.assert(
        fc.asyncProperty(
          anyValue,
          fc.constantFrom("question", "options", "items", "item", "picture", "frame", "send", "turn"),
          async (given, where) => {
            const { value } = given;
            const calls: Record<typeof where, () => PromiseLike<unknown>> = {
              question: () => vlm.chat(value as string, few),
              send: () => vlm.session().send(value as string, few),
              options: () => vlm.chat(QUESTION, value as object),
              items: () => vlm.batch(value as never, few),
              item: async () => {
                const [result] = await vlm.batch([value as never], few);
                if ("error" in result!) throw result.error;
                return result;
              },
              picture: () => vlm.chat(QUESTION, { ...few, images: [value as ImageLike] }),
              frame: () => vlm.chat(QUESTION, { ...few, video: [value as ImageLike] }),
              turn: () => vlm.chat(QUESTION, { ...few, history: [value] as never }),
            };
            const { answer, error } = await outcome(calls[where]);
            if (answer === undefined) return void expect(error).toBeInstanceOf(EngineError);
            const isMessage = (each: unknown) => (each as { role?: unknown } | null)?.role === "user";
            if (where === "question" || where === "send") {
              const messages = Array.isArray(value) && value.length > 0 && value.every(isMessage);
              expect(typeof value === "string" || messages, "a question is a text or messages").toBe(true);
            } else if (where === "options") {
              const plain =
                isAbsent(value) ||
                (Object.prototype.toString.call(value) === "[object Object]" && Object.keys(value as object).length === 0);
              expect(plain, "options are an object of known keys").toBe(true);
            } else if (where === "items") {
              const errors = (answer as { error: unknown }[]).map(({ error }) => error instanceof EngineError);
              expect(errors, "a list, and none of its items is right").toEqual(Array.from(value as unknown[], () => true));
            } else throw new Error(`accepted a wrong ${where}, and answered ${JSON.stringify(answer)?.slice(0, 100)}`);
          },
        ),
        { numRuns: RUNS, seed: 11 },
      );
    });
  });
}
