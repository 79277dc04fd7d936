import type { Memory } from "../gpu/memory.ts";
import { f32Bits, need } from "./check.ts";

/** How the next id is chosen from the logits; in this order: repetition, presence and frequency, biases, temperature, top-k, top-p, min-p. */
export interface Sampling {
  /** 0: greedy, the first id of the largest logit; of what follows only penalties and biases matter then. */
  temperature: number;
  /** Keeps this many of the largest logits, and those equal to the last of them; 0: all. */
  topK: number;
  /** Keeps an id while those with larger logits hold less than this share of the probability; 1: all. */
  topP: number;
  /** Keeps ids whose probability is at least this times that of the most probable one; 0: all. */
  minP: number;
  /**
   * Logits of ids already generated are divided (positive) or multiplied (negative) by it; 1: off. As upstream, whose `generate` sees
   * embeddings instead of the prompt's ids, the prompt does not count.
   */
  repetitionPenalty: number;
  /** Taken from the logits of ids already generated; 0: off. */
  presencePenalty: number;
  /** Taken from the logit of an id as often as it was generated; 0: off. */
  frequencyPenalty: number;
  /** Added to the logits of ids, none of them twice. */
  logitBias: readonly (readonly [id: number, bias: number])[];
  /** 0 … 2^53 - 1: the same seed gives the same ids on one adapter. */
  seed: number;
}

/** The most probable token every time. */
export const GREEDY: Sampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  seed: 0,
};

/** Biases that a slot takes. */
export const MOST_BIASES = 1024;
/** Most probable ids that a step reports, where it reports any. */
export const TOP = 20;
const BLOCK = 2048; // logits a workgroup
/** Passes of the searches for top-k and top-p: 8 bits of a key each, 4 passes for either. */
export const PASSES = 8;
const BINS = 256;
const MAX_VOCABULARY = 2 ** 20; // the limbs of the masses are summed in u32
const SETTINGS_BYTES = 48;
const MASK_AT = 44; // in the settings
const MORE_MASKS = 24; // that are kept besides those that slots have

/** A mask on the GPU. */
interface HeldMask {
  words: Uint32Array;
  hash: number;
  used: number; // larger is later
}

/** What sampling keeps on the GPU for some slots: settings, counts, masks, scratch, and the ids chosen. */
export interface SampleState {
  slots: number;
  vocabSize: number;
  next: GPUBuffer; // u32 [slots]: the id that follows each slot's last token
  settings: GPUBuffer; // [slots], 48 bytes each
  counts: GPUBuffer; // u32 [slots, vocab]: how often each id was chosen
  biases: GPUBuffer; // (u32, f32) [slots, MOST_BIASES]
  masks: GPUBuffer; // a bit an id, u32 [slots + MORE_MASKS, ceil(vocab / 32)]
  probabilities: GPUBuffer; // 8 bytes [slots, 1 + TOP]: see sample.probability
  // Scratch, by the rows of a step:
  best: GPUBuffer; // (f32, u32) [slots, blocks]: the largest logit, and its id
  gumbel: GPUBuffer; // (f32, u32) [slots, blocks]: the largest logit with Gumbel noise added, and its id
  histogram: GPUBuffer; // u32 [slots, 8, 256, 3]
  searches: GPUBuffer; // 16 bytes [slots, 9]
  tops: GPUBuffer; // (f32, u32) [slots, blocks, TOP]
  sums: GPUBuffer; // f32 [slots, blocks]
  /** What each slot asks for, on the CPU's side: which kernels a step can leave out. */
  asked: Sampling[];
  /** The place of each slot's mask. */
  maskOf: (number | undefined)[];
  held: HeldMask[];
  /** Whether the next step tells what probabilities follow from. */
  tells: boolean;
}

/** How many blocks of logits a vocabulary has: a workgroup looks at one. */
export const blocksOf = (vocabSize: number): number => Math.ceil(vocabSize / BLOCK);
const maskWords = (vocabSize: number): number => Math.ceil(vocabSize / 32);

/** The state of slots whose buffers `take` makes. */
export function sampleState(take: (label: string, bytes: number) => GPUBuffer, slots: number, vocabSize: number): SampleState {
  need(slots > 0 && vocabSize > 0, "sampling", `${slots} slots of a vocabulary of ${vocabSize}`);
  need(vocabSize < MAX_VOCABULARY, "sampling", `a vocabulary of ${vocabSize} is over ${MAX_VOCABULARY}`);
  const blocks = blocksOf(vocabSize);
  return {
    slots,
    vocabSize,
    next: take("next ids", slots * 4),
    settings: take("sampling settings", slots * SETTINGS_BYTES),
    counts: take("sampling counts", slots * vocabSize * 4),
    biases: take("sampling biases", slots * MOST_BIASES * 8),
    masks: take("sampling masks", (slots + MORE_MASKS) * maskWords(vocabSize) * 4),
    probabilities: take("sampling probabilities", slots * (1 + TOP) * 8),
    best: take("sampling best", slots * blocks * 8),
    gumbel: take("sampling gumbel", slots * blocks * 8),
    histogram: take("sampling histogram", slots * PASSES * BINS * 12),
    searches: take("sampling searches", slots * (PASSES + 1) * 16),
    tops: take("sampling tops", slots * blocks * TOP * 8),
    sums: take("sampling sums", slots * blocks * 4),
    asked: Array.from({ length: slots }, () => GREEDY),
    maskOf: Array.from({ length: slots }, () => undefined),
    held: [],
    tells: false,
  };
}

/** The state of sampling for some slots, on the GPU. @throws EngineError limit-exceeded, out-of-memory */
export const createSampleState = (memory: Memory, slots: number, vocabSize: number): SampleState =>
  sampleState((label, bytes) => memory.create(label, bytes), slots, vocabSize);

/** Frees it. */
export function destroySampleState(memory: Memory, state: SampleState): void {
  for (const buffer of Object.values(state)) if (typeof buffer === "object" && "destroy" in buffer) memory.destroy(buffer);
}

/** Whether counts of the ids chosen matter. */
export const penalises = ({ repetitionPenalty, presencePenalty, frequencyPenalty }: Sampling): boolean =>
  repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;

/** Whether it is more than taking the largest logit as it came. */
export const alters = (sampling: Sampling): boolean => sampling.temperature > 0 || penalises(sampling) || sampling.logitBias.length > 0;

/** Sets how a slot samples, without a mask, and lets its sequence of random numbers and its ids counted begin anew. */
export function setSampling(memory: Memory, state: SampleState, slot: number, sampling: Sampling): void {
  const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, seed } = sampling;
  need(logitBias.length <= MOST_BIASES, "sampling", `${logitBias.length} biases are over ${MOST_BIASES}`);
  const limits = [
    f32Bits(temperature),
    topK < state.vocabSize ? topK : 0,
    topP < 1 ? Math.min(0xffffffff, Math.max(1, Math.round(topP * 2 ** 32))) : 0,
    f32Bits(minP > 0 ? temperature * Math.log(minP) : -3.4e38),
  ];
  const penalties = [presencePenalty, frequencyPenalty].map(f32Bits);
  const words = [...limits, f32Bits(repetitionPenalty), 0, seed % 2 ** 32, Math.floor(seed / 2 ** 32), ...penalties, logitBias.length, 0];
  memory.write(state.settings, slot * SETTINGS_BYTES, Uint32Array.from(words));
  // Every step counts what it chose; only a penalty reads it.
  if (penalises(sampling)) memory.write(state.counts, slot * state.vocabSize * 4, new Uint32Array(state.vocabSize));
  if (logitBias.length > 0) {
    const pairs = logitBias.flatMap(([id, bias]) => [id, f32Bits(bias)]);
    memory.write(state.biases, slot * MOST_BIASES * 8, Uint32Array.from(pairs));
  }
  state.asked[slot] = sampling;
  state.maskOf[slot] = undefined;
}

/** Counts ids as if a step of the slot had chosen them: `times` is how often each was chosen in all. */
export function setCounts(memory: Memory, state: SampleState, slot: number, times: ReadonlyMap<number, number>): void {
  for (const [id, count] of times) memory.write(state.counts, (slot * state.vocabSize + id) * 4, Uint32Array.of(count));
}

/** Sets the ids that the slot's next step may choose, a bit an id. A mask that was there not long ago is still on the GPU. */
export function setMask(memory: Memory, state: SampleState, slot: number, words: Uint32Array<ArrayBuffer>): void {
  const length = maskWords(state.vocabSize);
  need(words.length === length, "sampling", `a mask of ${words.length} words, needs ${length}`);
  const { held, maskOf } = state;
  const hash = words.reduce((sum, word) => Math.imul(sum ^ word, 0x01000193), 0x811c9dc5);
  const used = 1 + held.reduce((most, each) => Math.max(most, each.used), 0);
  let place = held.findIndex((each) => each.hash === hash && each.words.every((word, i) => word === words[i]));
  if (place < 0) {
    const free = [...held.keys()].filter((each) => !maskOf.includes(each)).sort((a, b) => held[a]!.used - held[b]!.used);
    place = held.length < state.slots + MORE_MASKS ? held.length : free[0]!;
    held[place] = { words: words.slice(), hash, used };
    memory.write(state.masks, place * length * 4, words);
  }
  held[place]!.used = used;
  if (maskOf[slot] !== place) memory.write(state.settings, slot * SETTINGS_BYTES + MASK_AT, Uint32Array.of(place + 1));
  maskOf[slot] = place;
}
