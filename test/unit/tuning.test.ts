import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Choices, openTuning, storedChoices } from "../../src/gpu/tuning.ts";

/** A store in memory, and a clock that measuring moves. */
function fake(found: Record<string, string> = {}) {
  const saved: Record<string, string>[] = [];
  let ms = 0;
  const kept: Choices = { load: async () => found, save: async (choices) => void saved.push(choices) };
  const measuring = (took: number, variant: string | undefined) => async () => {
    ms += took;
    return variant;
  };
  return { saved, kept, now: () => ms, measuring };
}

describe("tuning", () => {
  it("measures for two seconds in a load, keeps what it found, and leaves the rest to the table", async () => {
    const { saved, kept, now, measuring } = fake({ old: "first" });
    const tuning = await openTuning(kept, now);
    expect(tuning.known("old")).toBe("first");
    tuning.want("old", measuring(1, "never"));
    tuning.want("a", measuring(1500, "second"));
    tuning.want("b", measuring(600, "third")); // began in time
    tuning.want("c", measuring(1, "never"));
    expect(await tuning.settle()).toBe(true);
    expect(saved).toEqual([{ old: "first", a: "second", b: "third" }]);
    expect(tuning.known("c")).toBeUndefined();
    tuning.want("c", measuring(1, "never"));
    expect(await tuning.settle()).toBe(false); // or recording would begin again for ever
    expect(tuning.toJSON()).toEqual(saved[0]);
  });

  it("stops where times tell nothing, and does nothing where nothing is tuned", async () => {
    const { saved, kept, now, measuring } = fake();
    const tuning = await openTuning(kept, now);
    tuning.want("a", measuring(1, undefined));
    tuning.want("b", measuring(1, "never"));
    expect(await tuning.settle()).toBe(false);
    const off = await openTuning(undefined);
    off.want("a", measuring(1, "never"));
    expect(await off.settle()).toBe(false);
    expect([off.enabled, off.toJSON(), saved]).toEqual([false, {}, []]);
  });

  describe("in the store", () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "internvl-tuning-"));
      vi.stubEnv("XDG_CACHE_HOME", folder);
    });
    afterEach(() => {
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true });
    });

    it("is found again by the same adapter only, and survives a broken file", async () => {
      await storedChoices("one").save({ a: "x" });
      await storedChoices("two").save({ a: "y" });
      expect([await storedChoices("one").load(), await storedChoices("two").load(), await storedChoices("three").load()]).toEqual([
        { a: "x" },
        { a: "y" },
        {},
      ]);
      const file = join(folder, "internvl-webgpu/tuning.json");
      expect(Object.keys(JSON.parse(readFileSync(file, "utf8")) as object)[0]).toMatch(/^one, kernels [0-9a-f]+$/);
      for (const text of ["{", "null", "[1]", '{"a":']) {
        writeFileSync(file, text);
        expect(await storedChoices("one").load()).toEqual({});
      }
    });
  });
});
