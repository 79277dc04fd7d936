/** Something that can be timed: `run` resolves when that many runs are done, on the GPU too. */
export interface Contender {
  run(iterations: number): Promise<void>;
}

/** What the samples of a contender say, in milliseconds a run. */
export interface Timing {
  /** Samples. */
  n: number;
  min: number;
  median: number;
  max: number;
}

const SAMPLE_MS = 60; // of one sample at least: hides the cost of submitting and of waiting
const PASSES = 8; // there, back, there, …: a sample each
const LONG_MS = 500; // a run of more than this: three samples must do
const ENDLESS_MS = 20_000; // of more than this: one, and `n` says so
const HOPELESS = 5; // slower than the fastest by this factor: three samples, or one of a run over LONG_MS

async function time(contender: Contender, iterations: number): Promise<number> {
  const start = performance.now();
  await contender.run(iterations);
  return (performance.now() - start) / iterations;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** How many samples a contender gets whose first run took `ms`; `limit` is what makes it hopeless. */
export function samplesFor(ms: number, limit: number, passes = PASSES): number {
  const long = ms > LONG_MS;
  const hopeless = ms > limit && ms > SAMPLE_MS;
  if (ms > ENDLESS_MS || (hopeless && long)) return 1;
  return Math.min(passes, long || hopeless ? 3 : passes);
}

/**
 * Times each contender: samples taken in turns, there and back (A B C, C B A, …), so that what else happens on the machine hits all of them
 * alike. `beside` take their turns too, and come last; that they are fast makes nobody hopeless.
 */
export async function timeInterleaved(
  contenders: readonly Contender[],
  passes = PASSES,
  beside: readonly Contender[] = [],
): Promise<Timing[]> {
  const first: number[] = [];
  const all = [...contenders, ...beside];
  for (const contender of all) {
    const cold = await time(contender, 1); // pages touched, pipeline ready: it says little of the next one
    first.push(cold > ENDLESS_MS ? cold : await time(contender, 1));
  }
  const limit = HOPELESS * Math.min(...first.slice(0, contenders.length));
  const entries = all.map((contender, i) => ({
    contender,
    iterations: Math.max(1, Math.ceil(SAMPLE_MS / first[i]!)),
    wanted: samplesFor(first[i]!, limit, passes),
    samples: [] as number[],
  }));
  for (let pass = 0; pass < passes; pass++) {
    for (const entry of pass % 2 ? [...entries].reverse() : entries) {
      if (pass < entry.wanted) entry.samples.push(await time(entry.contender, entry.iterations));
    }
  }
  return entries.map(({ samples }) => ({
    n: samples.length,
    min: Math.min(...samples),
    median: median(samples),
    max: Math.max(...samples),
  }));
}
