import { afterEach, expect, it, vi } from "vitest";
import { type Contender, samplesFor, timeInterleaved } from "../../tools/kernels/bench-timer.ts";

afterEach(() => void vi.restoreAllMocks());

/** Contenders on a clock of their own, each with the milliseconds that its runs take, one after the other; the last one stays. */
function contendersOf(times: Record<string, number[]>) {
  let now = 0;
  const order: string[] = [];
  vi.spyOn(performance, "now").mockImplementation(() => now);
  const contenders = Object.entries(times).map(
    ([name, [...ms]]): Contender => ({
      async run(iterations) {
        order.push(name);
        now += iterations * (ms.length > 1 ? ms.shift()! : ms[0]!);
      },
    }),
  );
  return { contenders, order };
}

it("a contender has eight samples, three where a run is long, one where it takes minutes for more", () => {
  expect([1, 400].map((ms) => samplesFor(ms, 2000))).toEqual([8, 8]);
  expect([501, 3001, 20_000].map((ms) => samplesFor(ms, 100_000))).toEqual([3, 3, 3]);
  expect(samplesFor(20_001, 100_000)).toBe(1);
  expect([70, 499].map((ms) => samplesFor(ms, 10))).toEqual([3, 3]); // hopeless
  expect(samplesFor(501, 100)).toBe(1); // hopeless, and long
  expect(samplesFor(50, 10)).toBe(8); // a sample's least time is too short to save anything
});

it("tells how many samples there were, their median and their ends", async () => {
  const { contenders } = contendersOf({ long: [9000, 9000, 4000], fast: [100], endless: [30_000, 31_000], cold: [900, 100, 101, 99] });
  expect(await timeInterleaved(contenders)).toEqual([
    { n: 1, min: 4000, median: 4000, max: 4000 }, // hopeless beside the fast one
    { n: 8, min: 100, median: 100, max: 100 },
    { n: 1, min: 31_000, median: 31_000, max: 31_000 },
    { n: 8, min: 99, median: 99, max: 101 }, // a slow first run is forgotten
  ]);
  const alone = contendersOf({ long: [9000, 8000, 4000, 7000, 5000] });
  expect(await timeInterleaved(alone.contenders)).toEqual([{ n: 3, min: 4000, median: 5000, max: 7000 }]);
});

it("contenders take turns there and back, and what runs beside them makes none of them hopeless", async () => {
  const { contenders, order } = contendersOf({ a: [600], b: [700], beside: [1] });
  const [a, b, beside] = await timeInterleaved(contenders.slice(0, 2), 8, contenders.slice(2));
  expect([a, b, beside].map((timing) => timing!.n)).toEqual([3, 3, 8]);
  expect(order.slice(6, 15)).toEqual(["a", "b", "beside", "beside", "b", "a", "a", "b", "beside"]); // behind the first runs
});
