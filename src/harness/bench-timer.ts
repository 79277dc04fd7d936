/** Something that can be timed: `run` resolves when so many runs are done, on the GPU too. */
export interface Contender {
  run(iterations: number): Promise<void>;
}

const SAMPLE_MS = 60; // of one sample at least: hides the cost of submitting and of waiting
const ROUNDS = 4; // there and back: 8 samples
const LONG_MS = 500; // a run of more than this: two samples must do
const ENDLESS_MS = 3000; // of more than this: one
const HOPELESS = 5; // slower than the fastest by this factor: likewise

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

/**
 * Milliseconds a run of each contender: the median of samples taken in turns, there and back (A B C, C B A, …), so that what else
 * happens on the machine hits all of them alike. `beside` take their turns too, and come last; that they are fast makes nobody hopeless.
 */
export async function timeInterleaved(
  contenders: readonly Contender[],
  rounds = ROUNDS,
  beside: readonly Contender[] = [],
): Promise<number[]> {
  const first: number[] = [];
  const all = [...contenders, ...beside];
  for (const contender of all) {
    const cold = await time(contender, 1); // pages touched, pipeline ready
    first.push(cold > LONG_MS ? cold : await time(contender, 1));
  }
  const limit = HOPELESS * Math.min(...first.slice(0, contenders.length));
  const entries = all.map((contender, i) => ({
    contender,
    iterations: Math.max(1, Math.ceil(SAMPLE_MS / first[i]!)),
    samples: [] as number[],
    endless: first[i]! > ENDLESS_MS,
    rounds: first[i]! > LONG_MS || (first[i]! > limit && first[i]! > SAMPLE_MS) ? 1 : rounds,
  }));
  for (let round = 0; round < rounds; round++) {
    for (const [back, order] of [entries, [...entries].reverse()].entries()) {
      for (const entry of order) {
        if (round < entry.rounds && !(back && entry.endless)) entry.samples.push(await time(entry.contender, entry.iterations));
      }
    }
  }
  return entries.map(({ samples }) => median(samples));
}
