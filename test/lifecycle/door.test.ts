import fc from "fast-check";
import { expect, it } from "vitest";
import { EngineError, InternVL } from "../../src/index.ts";
import { generateBatch, tiles, tokenizer, traceForward } from "../../src/testing.ts";
import { doorSuite, keyOf, outcome, withKey } from "../shared/door.ts";
import { anyValue } from "../shared/wrong.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
doorSuite(
  "the door",
  () => InternVL.load(folder),
  async () => `${folder}/images/card-1.png`,
);

/** Options of `load` for which no value of the suite is right, but the three that are strings for another kind of source. */
const LOAD = ["device", "weights", "kv", "maxContext", "fetch", "signal", "onProgress", "endpoint", "revision", "token", "cacheDir"];
const TEXTS = ["endpoint", "revision", "token", "cacheDir"];

it("load: sources and options", async () => {
  const keys = keyOf(Object.fromEntries(LOAD.map((key) => [key, () => false])));
  await fc.assert(
    fc.asyncProperty(fc.boolean(), keys, anyValue, async (asSource, key, { value }) => {
      const { answer, error } = await outcome(() =>
        asSource ? InternVL.load(value as string) : InternVL.load(folder, withKey({}, key, value)),
      );
      if (error) return void expect(["bad-input", "bad-weights", "no-adapter", "network", "limit-exceeded"]).toContain(error.code);
      await (answer as InternVL).dispose();
      expect(asSource, "no value of the suite is a model").toBe(false);
      const callback = ["onProgress", "fetch"].includes(key) && typeof value === "function";
      const text = TEXTS.includes(key) && typeof value === "string";
      const chosen =
        key === "device" && Object.prototype.toString.call(value) === "[object Object]" && Object.keys(value as object).length === 0;
      const count = key === "maxContext" && Number.isSafeInteger(value) && (value as number) > 0;
      expect(value === undefined || value === null || callback || text || chosen || count, `${key} is taken as it is`).toBe(true);
    }),
    { numRuns: 300, seed: 11 },
  );
});

it("the exports for tests", async () => {
  const vlm = await InternVL.load(folder);
  const bytes = vlm.memory().bytes;
  const calls: Record<string, (value: unknown) => PromiseLike<unknown>> = {
    "traceForward's request": (value) => traceForward(vlm, value as never),
    "traceForward's ids": (value) => traceForward(vlm, { inputIds: value as never }),
    "traceForward's pixels": (value) => traceForward(vlm, { inputIds: [1], pixelValues: value as never }),
    "traceForward's model": (value) => traceForward(value as never, { inputIds: [1] }),
    "generateBatch's requests": (value) => generateBatch(vlm, value as never, { steps: 1, maxContext: 64 }),
    "generateBatch's request": (value) => generateBatch(vlm, [value as never], { steps: 1, maxContext: 64 }),
    "generateBatch's steps": (value) => generateBatch(vlm, [{ inputIds: [1] }], { steps: value as never, maxContext: 64 }),
    "generateBatch's options": (value) => generateBatch(vlm, [{ inputIds: [1] }], value as never),
    "tiles' bytes": async (value) => tiles(value as never),
    "tokenizer's folder": (value) => tokenizer(value as never),
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...Object.keys(calls)), anyValue, async (name, { value }) => {
      const { answer, error } = await outcome(() => calls[name]!(value));
      if (error) return void expect(error).toBeInstanceOf(EngineError);
      const right: Record<string, boolean> = {
        "traceForward's ids": typeof value === "object" && (value as { length?: number } | null)?.length === 0,
        "traceForward's pixels": value === undefined || value === null,
        "generateBatch's requests": Array.isArray(value) && value.length === 0,
        "generateBatch's steps": Number.isSafeInteger(value),
      };
      expect(right[name], `${name} accepted, and answered ${JSON.stringify(answer)?.slice(0, 100)}`).toBe(true);
    }),
    { numRuns: 300, seed: 11 },
  );
  expect(vlm.memory().bytes).toBe(bytes);
  await vlm.dispose();
});
