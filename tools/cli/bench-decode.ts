import { performance } from "node:perf_hooks";
import type { Scheduler } from "../../src/generate/scheduler.ts";
import type { Counters } from "../../src/gpu/counters.ts";
import { MAX_SLOTS } from "../../src/gpu/program.ts";
import type { Decoder } from "../../src/model/decoder-slots.ts";
import type { Model } from "../../src/model/internvl.ts";
import { type KvDtype, kvBytes } from "../../src/ops/kv-cache.ts";
import { median } from "../kernels/bench-timer.ts";

/** Contexts that decoding is timed at. */
export const CONTEXTS = [128, 1024, 4096] as const;
/** Positions behind the last of them that the timed steps may take. */
export const CONTEXT_ROOM = 64;

const SAMPLE_MS = 80;
const ROUNDS = [5, 21] as const; // at least, and at most
const ENOUGH_MS = 30_000; // of samples: no more rounds than take this long, beyond the least
const MOST_STEPS = CONTEXT_ROOM / 2;

/** A way to decode that is timed: slots at positions of their own. Nothing depends on what keys, values and ids are. */
interface Subject {
  decoder: Decoder;
  positions: readonly number[];
}

async function run({ decoder, positions }: Subject, model: Model, steps: number): Promise<number> {
  const began = performance.now();
  for (let i = 0; i < steps; i++) decoder.decode(positions.map((position) => position + i));
  await model.flush();
  return (performance.now() - began) / steps;
}

/**
 * Milliseconds a step of each, and how many times as long as the first one's it takes: medians of rounds, each of which takes a sample
 * of every subject (one round there, the next one back), so that what else happens on the machine hits all alike.
 */
async function time(model: Model, subjects: readonly Subject[], signal: AbortSignal): Promise<{ ms: number; ratio: number }[]> {
  const entries: { subject: Subject; steps: number; samples: number[] }[] = [];
  let roundMs = 0;
  for (const subject of subjects) {
    await run(subject, model, 1); // pages touched
    const ms = await run(subject, model, 1);
    const steps = Math.min(MOST_STEPS, Math.ceil(SAMPLE_MS / ms));
    roundMs += ms * steps;
    entries.push({ subject, steps, samples: [] });
  }
  const rounds = Math.min(ROUNDS[1], Math.max(ROUNDS[0], Math.floor(ENOUGH_MS / roundMs)));
  for (let round = 0; round < rounds; round++) {
    for (const { subject, steps, samples } of round % 2 ? [...entries].reverse() : entries) {
      signal.throwIfAborted();
      samples.push(await run(subject, model, steps));
    }
  }
  const first = entries[0]!.samples;
  return entries.map(({ samples }) => ({ ms: median(samples), ratio: median(samples.map((ms, i) => ms / first[i]!)) }));
}

export interface ContextRate {
  context: number;
  tokensPerSecond: number;
  kvBytes: number;
  /** What it would be if a step took the time of its bytes (weights, keys and values), by the rate at the shortest context. */
  expectedTokensPerSecond: number;
  /** How much longer a step takes than that: 0.06 is 6 %. */
  beyond: number;
}

/** Decoding at some contexts, in turns. `weightBytes` are those that every step reads. */
export async function timeContexts(model: Model, weightBytes: number, kv: KvDtype, signal: AbortSignal): Promise<ContextRate[]> {
  const { language } = model.config;
  const contexts = CONTEXTS.filter((context) => context + CONTEXT_ROOM <= model.decoder.context);
  const times = await time(
    model,
    contexts.map((context) => ({ decoder: model.decoder, positions: [context - 1] })),
    signal,
  );
  const bytes = contexts.map((context) => weightBytes + kvBytes(language, context, kv));
  return contexts.map((context, i) => {
    const { ms, ratio } = times[i]!;
    const beyond = ratio / (bytes[i]! / bytes[0]!) - 1;
    return {
      context,
      tokensPerSecond: 1e3 / ms,
      kvBytes: kvBytes(language, context, kv),
      expectedTokensPerSecond: (1e3 / ms) * (1 + beyond),
      beyond,
    };
  });
}

export interface RowsRate {
  rows: number;
  tokensPerSecond: number;
  /** Over the rate of one row, timed in turns with it. */
  ratio: number;
}

/** Decoding as many rows together as there can be, at the shortest of the contexts. */
export async function timeRows(model: Model, signal: AbortSignal): Promise<RowsRate> {
  const context = CONTEXTS[0] + CONTEXT_ROOM;
  const rows = Math.min(MAX_SLOTS, model.slotsIn(Number.POSITIVE_INFINITY, context));
  const decoder = await model.openDecoder(rows, context);
  try {
    const at = CONTEXTS[0] - 1;
    const [, all] = await time(
      model,
      [
        { decoder: model.decoder, positions: [at] },
        { decoder, positions: Array.from({ length: rows }, () => at) },
      ],
      signal,
    );
    return { rows, tokensPerSecond: (1e3 * rows) / all!.ms, ratio: rows / all!.ratio };
  } finally {
    decoder.dispose();
  }
}

/** Runs `count` greedy steps from a prompt; the new ids, the time from the first to the last, and what the engine did meanwhile. */
export async function decode(model: Model, scheduler: Scheduler, inputIds: readonly number[], count: number, signal: AbortSignal) {
  const counters = () => model.gpus.map((gpu) => ({ ...gpu.counters }));
  const request = { inputIds, imageContextId: -1, maxTokens: count + 1 };
  let steps = -1;
  let began = 0;
  let before = counters();
  const ids: number[] = [];
  const accept = (id: number) => {
    ids.push(id);
    if (++steps === 0) {
      began = performance.now();
      before = counters();
    }
    return false;
  };
  await scheduler.admit(request, accept, signal);
  const seconds = (performance.now() - began) / 1e3;
  const after = counters();
  const each = (name: keyof Counters) => after.reduce((sum, gpu, i) => sum + gpu[name] - before[i]![name], 0) / steps;
  return { each, ids, steps, seconds };
}
