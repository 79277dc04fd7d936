import { expect, it, vi } from "vitest";
import { paced } from "../../src/platform/pacing.ts";

it("what Dawn asks for through setImmediate comes after pauses, after a few turns; everybody else's stays as it is", async () => {
  const real = globalThis.setImmediate;
  const timers = vi.spyOn(globalThis, "setTimeout");
  let turns = 0;
  await new Promise<void>((resolve) => {
    // As Dawn does it: looks the global up, and asks for the next turn from within a turn.
    const turn = () => {
      expect(globalThis.setImmediate).not.toBe(real);
      if (++turns < 30) globalThis.setImmediate(turn);
      else resolve();
    };
    paced(() => globalThis.setImmediate(turn));
    expect(globalThis.setImmediate).toBe(real);
  });
  expect(globalThis.setImmediate).toBe(real);
  expect(timers.mock.calls.map(([, ms]) => ms)).toEqual(Array(10).fill(1)); // a millisecond each, behind twenty turns without
  timers.mockRestore();
});

it("hands through what the call returns and throws", () => {
  const real = globalThis.setImmediate;
  expect(paced(() => 7)).toBe(7);
  expect(() =>
    paced(() => {
      throw new Error("no");
    }),
  ).toThrow("no");
  expect(globalThis.setImmediate).toBe(real);
});
