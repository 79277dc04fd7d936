import { describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import { sample } from "../../src/ops/sample.ts";
import { createSampleState, GREEDY, type SampleState, type Sampling, setMask, setSampling } from "../../src/ops/sample-state.ts";
import { argmax } from "../../src/reference/argmax.ts";
import { changed, draw, keptIds, philox, probabilities } from "../../src/reference/sample.ts";
import { useGpu } from "../shared/gpu.ts";
import { isQuick } from "../shared/quick.ts";

/** A small generator for test data: the same numbers in every run. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Normal logits of this width, as a model's. */
function normalLogits(count: number, width: number, seed: number): Float32Array<ArrayBuffer> {
  const random = randomNumbers(seed);
  return Float32Array.from({ length: count }, () => width * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()));
}

/** Rows of logits and what samples them. */
class Bench {
  readonly gpu: Gpu;
  readonly state: SampleState;
  readonly #logits: GPUBuffer;
  readonly #program: Program;

  private constructor(gpu: Gpu, state: SampleState, logits: GPUBuffer, program: Program) {
    this.gpu = gpu;
    this.state = state;
    this.#logits = logits;
    this.#program = program;
  }

  static async open(gpu: Gpu, rows: number, vocabSize: number): Promise<Bench> {
    const state = createSampleState(gpu.memory, rows, vocabSize);
    const buffer = gpu.memory.create("logits", rows * vocabSize * 4);
    const logits = { label: "logits", rows: { base: 0, unit: 1 }, width: vocabSize, buffer };
    const program = await new Programs(gpu).record("sample", rows, (p) => sample(p, logits, state));
    return new Bench(gpu, state, buffer, program);
  }

  set(sampling: readonly Partial<Sampling>[]): void {
    for (const [row, each] of sampling.entries()) setSampling(this.gpu.memory, this.state, row, { ...GREEDY, ...each });
  }

  /** One step: the ids chosen. Logits are written again every time, since a penalty changes them. */
  async step(logits: readonly Float32Array<ArrayBuffer>[]): Promise<number[]> {
    for (const [row, each] of logits.entries()) this.gpu.memory.write(this.#logits, row * each.byteLength, each);
    this.#program.run({ units: logits.length, start: 0 });
    return [...new Uint32Array(await this.gpu.memory.read(this.state.next, 0, logits.length * 4))];
  }

  /** The ids that a row's last draw was among, by the threshold that the kernels found. */
  async kept(row: number, logits: Float32Array, sampling: Sampling): Promise<Set<number>> {
    const search = new Uint32Array(await this.gpu.memory.read(this.state.searches, (row * 9 + 8) * 16, 16));
    const bits = new Uint32Array(logits.buffer, logits.byteOffset, logits.length);
    const key = (i: number) => (bits[i]! & 0x80000000 ? ~bits[i]! >>> 0 : (bits[i]! | 0x80000000) >>> 0);
    const top = logits.reduce((a, b) => Math.max(a, b));
    const gap = sampling.minP > 0 ? Math.fround(sampling.temperature * Math.log(sampling.minP)) : -3.4e38;
    return new Set(Array.from(logits.keys()).filter((i) => key(i) >= search[3]! && Math.fround(logits[i]! - top) >= gap));
  }
}

describe("sampling on the GPU", () => {
  let gpu: Gpu;
  useGpu((opened) => {
    gpu = opened;
  });

  it("the reference's generator gives Random123's known answers", () => {
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const ones = 0xffffffff;
    expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
  });

  it.each([1, 3, 63, 65, 1025, 2049, 151674])("greedy takes the first of the largest: %i logits", async (count) => {
    const bench = await Bench.open(gpu, 4, count);
    const tied = normalLogits(count, 1, 7).map((l) => Math.min(l, 0.5)); // many are 0.5
    const negative = normalLogits(count, 1, 8).map((l) => -Math.abs(l) - 1e30);
    const holes = normalLogits(count, 1, 9).map((l) => (l > 0 ? Number.NEGATIVE_INFINITY : l));
    const flat = new Float32Array(count).fill(-2);
    const rows = [tied, negative, holes, flat] as Float32Array<ArrayBuffer>[];
    expect(await bench.step(rows)).toEqual(rows.map(argmax));
  });

  // (settings, rows): one run checks them all
  const grid = (random: () => number): Sampling[] =>
    [0.3, 1, 2].flatMap((temperature) =>
      [
        { topK: 1 },
        { topK: 2 },
        { topK: 50 },
        { topK: 1000 },
        { topK: 10 ** 6 },
        { topP: 1e-6 },
        { topP: 0.3 },
        { topP: 0.9 },
        { topP: 0.999 },
        { minP: 0.02 },
        { minP: 1 },
        { topK: 40, topP: 0.8 },
        { topK: 200, topP: 0.95, minP: 0.1 },
        { topP: 0.7, minP: 0.05 },
        {},
      ].map((each) => ({ ...GREEDY, temperature, seed: Math.floor(random() * 2 ** 53), ...each })),
    );

  it.each(isQuick ? [1, 65, 1025] : [1, 65, 1025, 5000])(
    "keeps exactly the ids of the definition, and draws the one it should: %i logits",
    async (count) => {
      const settings = grid(randomNumbers(count));
      const bench = await Bench.open(gpu, settings.length, count);
      // Rounded to multiples of 1/8 in every second row, so that ties meet the thresholds.
      const rows = settings.map((_, i) => normalLogits(count, 2, i + 1).map((l) => (i % 2 ? Math.round(l * 8) / 8 : l)));
      bench.set(settings);
      const near = { ids: 0, sets: 0 };
      for (let drawn = 0; drawn < 2; drawn++) {
        const ids = await bench.step(rows as Float32Array<ArrayBuffer>[]);
        for (const [i, id] of ids.entries()) {
          const expected = draw(rows[i]!, settings[i]!, drawn);
          if (expected.margin < 1e-4) near.ids++;
          else expect(id, JSON.stringify(settings[i])).toBe(expected.id);
          if (drawn > 0) continue;
          const { topP } = settings[i]!;
          const [less, more] = [-1e-5, 1e-5].map((slack) =>
            keptIds(rows[i]!, { ...settings[i]!, topP: topP < 1 ? topP + slack * topP : 1 }),
          );
          if (less!.size !== more!.size) near.sets++;
          else expect(await bench.kept(i, rows[i]!, settings[i]!), JSON.stringify(settings[i])).toEqual(less);
        }
      }
      // Where rounding could decide, nothing is claimed; that must be rare.
      expect(near.ids).toBeLessThanOrEqual(2);
      expect(near.sets).toBeLessThanOrEqual(4);
    },
  );

  it("finds the thresholds in the real vocabulary", async () => {
    const count = 151674;
    const settings = [
      { ...GREEDY, temperature: 1, topK: 50, topP: 0.9, seed: 3 },
      { ...GREEDY, temperature: 0.7, topP: 0.6, minP: 0.01, seed: 2 ** 53 - 1 },
    ];
    const bench = await Bench.open(gpu, settings.length, count);
    const rows = settings.map((_, i) => normalLogits(count, 3, i + 50));
    bench.set(settings);
    const ids = await bench.step(rows);
    for (const [i, id] of ids.entries()) {
      expect(await bench.kept(i, rows[i]!, settings[i]!)).toEqual(keptIds(rows[i]!, settings[i]!));
      const expected = draw(rows[i]!, settings[i]!, 0);
      expect(expected.margin).toBeGreaterThan(1e-4);
      expect(id).toBe(expected.id);
    }
  });

  it.each([
    ["temperature", { temperature: 1.5 }],
    ["top-k", { temperature: 1, topK: 4 }],
    ["top-p", { temperature: 0.8, topP: 0.85 }],
    ["min-p", { temperature: 1, minP: 0.1 }],
  ] as const)("draws by the distribution: %s", async (_, some) => {
    // 512 draws tell a wrong distribution from a right one, 4096 a slightly wrong one.
    const [rows, steps] = isQuick ? [32, 16] : [128, 32];
    const logits = Float32Array.of(2, 1, 0.5, 0, -1, 1.5, -0.5, 0.25, -3, 0.75);
    const choice = { ...GREEDY, ...some };
    const bench = await Bench.open(gpu, rows, logits.length);
    bench.set(Array.from({ length: rows }, (_, seed) => ({ ...choice, seed })));
    const counts = new Array<number>(logits.length).fill(0);
    for (let step = 0; step < steps; step++) for (const id of await bench.step(Array.from({ length: rows }, () => logits))) counts[id]!++;
    let chiSquare = 0;
    let degrees = -1;
    for (const [id, p] of probabilities(logits, choice).entries()) {
      if (p === 0) {
        expect(counts[id]).toBe(0);
        continue;
      }
      degrees++;
      chiSquare += (counts[id]! - p * rows * steps) ** 2 / (p * rows * steps);
    }
    // Wilson and Hilferty's approximation of the 99.9 % point: a wrong distribution is far above it.
    const bound = degrees * (1 - 2 / (9 * degrees) + 3.09 * Math.sqrt(2 / (9 * degrees))) ** 3;
    expect(chiSquare).toBeLessThan(bound);
  });

  it("penalises what was drawn before, and only from the request on", async () => {
    const logits = Float32Array.of(3, 2.9, -0.5, 2.8, 0.1);
    const bench = await Bench.open(gpu, 2, logits.length);
    for (let request = 0; request < 2; request++) {
      bench.set([{ repetitionPenalty: 1.5 }, {}]);
      const counts = new Map<number, number>();
      for (let step = 0; step < 5; step++) {
        const expected = argmax(changed(logits, counts, { ...GREEDY, repetitionPenalty: 1.5 }));
        expect(await bench.step([logits, logits])).toEqual([expected, 0]);
        counts.set(expected, (counts.get(expected) ?? 0) + 1);
      }
      expect(new Set(counts.keys())).toEqual(new Set([0, 1, 3]));
    }
  });

  it("takes presence once and frequency each time", async () => {
    const logits = Float32Array.of(3, 2.9, -0.5, 2.8, 0.1);
    const bench = await Bench.open(gpu, 2, logits.length);
    const asked = { presencePenalty: 0.3, frequencyPenalty: 0.15 };
    bench.set([asked, { frequencyPenalty: -1 }]);
    const counts = new Map<number, number>();
    const ids: number[] = [];
    for (let step = 0; step < 8; step++) {
      const expected = argmax(changed(logits, counts, { ...GREEDY, ...asked }));
      expect(await bench.step([logits, logits])).toEqual([expected, 0]);
      counts.set(expected, (counts.get(expected) ?? 0) + 1);
      ids.push(expected);
    }
    expect(ids.slice(0, 5)).toEqual([0, 1, 3, 0, 1]);
  });

  it("chooses what a mask allows, from one step to the next, and disturbs no other row", async () => {
    const count = 3000;
    const logits = normalLogits(count, 2, 3);
    const bench = await Bench.open(gpu, 3, count);
    bench.set([{}, { temperature: 1, topK: 3, seed: 4 }, {}]);
    const best = argmax(logits);
    for (let step = 0; step < 90; step++) {
      // More masks than are kept on the GPU, some of them again.
      const allowed = [(step * 31) % count, (step * 17) % count].map((id) => (step % 3 ? id : step % count));
      for (const [row, id] of allowed.entries()) {
        const mask = new Uint32Array(Math.ceil(count / 32));
        mask[id >> 5] = 1 << (id & 31);
        setMask(bench.gpu.memory, bench.state, row, mask);
      }
      expect(await bench.step([logits, logits, logits])).toEqual([...allowed, best]);
    }
    expect(bench.state.held.length).toBe(27);
    bench.set([{}, {}, {}]);
    expect(await bench.step([logits, logits, logits])).toEqual([best, best, best]); // a new request has no mask
  });

  it("a seed gives the same ids again, another one others", async () => {
    const logits = new Float32Array(1000);
    const bench = await Bench.open(gpu, 3, logits.length);
    const runs: number[][][] = [];
    for (let run = 0; run < 2; run++) {
      bench.set([5, 5, 6].map((seed) => ({ temperature: 1, seed })));
      const steps: number[][] = [];
      for (let step = 0; step < 8; step++) steps.push(await bench.step([logits, logits, logits]));
      runs.push(steps);
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[0]!.every(([a, b]) => a === b)).toBe(true);
    expect(runs[0]!.filter(([a, , c]) => a === c).length).toBeLessThan(3);
    expect(new Set(runs[0]!.map(([a]) => a)).size).toBeGreaterThan(5); // the counter moves
  });
});
