import fc from "fast-check";
import { expect, it } from "vitest";
import { InternVL } from "../../src/index.ts";
import { doorSuite, keyOf, outcome, withKey } from "../shared/door.ts";
import { isQuick } from "../shared/quick.ts";
import { anyValue } from "../shared/wrong.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
doorSuite(
  "the door",
  () => InternVL.load(folder),
  async () => `${folder}/images/card-1.png`,
);

/** Options of `load` for which no value of the suite is right, but the three that are strings for another kind of source. */
const LOAD = [
  "device",
  "weights",
  "kv",
  "maxContext",
  "slots",
  "kvBytes",
  "fetch",
  "signal",
  "onProgress",
  "endpoint",
  "revision",
  "token",
  "cacheDir",
];
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
      const counts: Record<string, number> = { maxContext: 1, slots: 1, kvBytes: 2 ** 20 };
      const count = Object.hasOwn(counts, key) && Number.isSafeInteger(value) && (value as number) >= counts[key]!;
      expect(value === undefined || value === null || callback || text || chosen || count, `${key} is taken as it is`).toBe(true);
    }),
    { numRuns: isQuick ? 120 : 300, seed: 11 },
  );
});
