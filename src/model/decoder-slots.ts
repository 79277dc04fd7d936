import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { scopedOn } from "../gpu/devices.ts";
import type { Program } from "../gpu/program.ts";
import { createCache, type KvCache, type KvDtype, kvBytes, slotBytes } from "../ops/kv-cache.ts";
import { sample } from "../ops/sample.ts";
import {
  alters,
  createSampleState,
  destroySampleState,
  GREEDY,
  type SampleState,
  type Sampling,
  setCounts,
  setMask,
  setSampling,
} from "../ops/sample-state.ts";
import { type Activation, bindingOf } from "../tensor/tensor.ts";
import { misfit } from "../weights/fit.ts";
import type { ModelConfig } from "./config.ts";
import { type DecoderState, type DecoderWeights, recordDecoder, recordHead } from "./decoder.ts";
import { layersOn, type Order, partOf, type Stage } from "./stages.ts";

/** What every decoder of a model works with. */
export interface DecoderParts {
  gpu: Gpu; // of the first stage, and of the last one
  config: ModelConfig;
  stages: readonly Stage[];
  order: Order;
  language: DecoderWeights;
  kv: KvDtype; // how slots hold keys and values
  ids: GPUBuffer; // u32 [maxContext]: the prompt in prefill
  visual: GPUBuffer; // f32 [maxContext, H]: visual tokens of the prompt in prefill
  chunk: number; // tokens in one prefill step, at most
}

/** What the decoder's layers work with beside their weights. */
export const stateOf = ({ visual, config }: DecoderParts): DecoderState => ({ visual, heads: config.language.heads });

/** The residual stream [chunk, H], as long as a prefill step. */
export function createResidual(gpu: Gpu, width: number, chunk: number): Activation {
  return { label: "x", rows: { base: 0, unit: 1 }, width, buffer: gpu.memory.create("residual", chunk * width * 4) };
}

/** The programs of a slot. */
interface SlotPrograms {
  prefill: Program[]; // of each stage
  head: Program;
}

/** The GPU buffers of a layer's keys and values. */
export const buffersOf = ({ keys, values }: KvCache): GPUBuffer[] => [keys, values].map((each) => bindingOf(each).buffer);

const gpusOf = (stages: readonly Stage[]): Gpu[] => [...new Set(stages.map(({ gpu }) => gpu))];

/** Records the copies that bring a step's results out. */
export type CopyOut = (encoder: GPUCommandEncoder) => void;

/** Slots, whose sequences are decoded together: their KV caches and the recorded programs. */
export class Decoder {
  /** Positions of each slot. */
  readonly context: number;
  readonly state: SampleState;
  readonly parts: DecoderParts;
  #caches: KvCache[] = []; // of every layer
  #slots: SlotPrograms[] = [];
  readonly #logits: Activation; // [most slots, vocab]
  #decodes: Program[][] = []; // for 1, 2, … busy slots, of each stage
  #drawing = false; // whether any answer was more than greedy

  private constructor(parts: DecoderParts, most: number, context: number) {
    this.parts = parts;
    this.context = context;
    const { memory } = parts.gpu;
    const { vocabSize } = parts.config.language;
    this.state = createSampleState(memory, most, vocabSize);
    const buffer = memory.create("logits", most * vocabSize * 4);
    this.#logits = { label: "logits", rows: { base: 0, unit: 1 }, width: vocabSize, buffer };
  }

  /**
   * Allocates the caches of `slots` slots of `context` positions, of `most` that there can be, and records their programs.
   * @throws EngineError limit-exceeded, out-of-memory
   */
  static open(parts: DecoderParts, slots: number, context: number, most = slots): Promise<Decoder> {
    return scopedOn(gpusOf(parts.stages), `${slots} KV caches of ${context} tokens`, async () => {
      const decoder = new Decoder(parts, most, context);
      try {
        for (let i = 0; i < parts.config.language.layers; i++) decoder.#caches.push(decoder.#createCache(i, slots));
        await decoder.#record();
        return decoder;
      } catch (error) {
        decoder.dispose();
        throw error;
      }
    });
  }

  /** Slots that have caches. */
  get slots(): number {
    return this.#caches[0]!.slots;
  }

  /** Tokens of a prompt in one step, at most. */
  get chunk(): number {
    return Math.min(this.parts.chunk, this.context);
  }

  /**
   * Makes it `slots` slots; those that stay keep what their caches hold. Layer by layer: there is never more than one layer's cache twice.
   * @throws EngineError limit-exceeded, out-of-memory: with as many slots as before
   */
  async resize(slots: number): Promise<void> {
    const { stages, order, config, kv } = this.parts;
    await order.idle();
    const before = this.slots;
    for (const [device, gpu] of gpusOf(stages).entries()) {
      const layers = layersOn(device, stages);
      const more = (slots - before) * kvBytes({ ...config.language, layers }, this.context, kv);
      const reason = more > 0 ? await misfit(gpu, more, platform.availableMemory()) : undefined;
      if (reason !== undefined) throw new EngineError("out-of-memory", `memory for ${slots} slots: ${reason}`);
    }
    const resized = async (to: number) => {
      for (const [i, old] of this.#caches.entries()) {
        if (old.slots === to) continue;
        const gpu = this.#gpuOf(i);
        const create = async () => this.#createCache(i, to);
        const cache = await gpu.memory.wholly(() => gpu.memory.scoped(`${to} KV caches of ${this.context} tokens`, create));
        this.#move(gpu, old, cache);
        this.#caches[i] = cache;
      }
    };
    try {
      await resized(slots).catch(async (error: unknown) => {
        await resized(before); // what has come so far goes back; that fits
        throw error;
      });
    } finally {
      for (const { memory } of gpusOf(stages)) memory.assertAlive();
      this.#disposePrograms();
      await scopedOn(gpusOf(stages), `the programs of ${slots} slots`, () => this.#record());
    }
  }

  /** The device of a layer. */
  #gpuOf(layer: number): Gpu {
    return partOf(this.parts.stages, layer).gpu;
  }

  #createCache(layer: number, slots: number): KvCache {
    const { config, kv } = this.parts;
    return createCache(this.#gpuOf(layer).memory, layer, config.language, this.context, slots, kv);
  }

  /** Puts what a cache holds into another one, as far as that has slots, and frees it. */
  #move({ device, memory }: Gpu, from: KvCache, to: KvCache): void {
    const encoder = device.createCommandEncoder({ label: "resize" });
    const [old, next] = [buffersOf(from), buffersOf(to)];
    for (const [i, buffer] of old.entries()) {
      encoder.copyBufferToBuffer(buffer, 0, next[i]!, 0, Math.min(from.slots, to.slots) * slotBytes(to));
    }
    device.queue.submit([encoder.finish()]);
    for (const buffer of old) memory.destroy(buffer);
  }

  async #record(): Promise<void> {
    const { stages } = this.parts;
    const last = stages.at(-1)!;
    const defer = !this.#drawing;
    const inStages = async (label: string, units: number, record: (p: Program, stage: Stage) => void, options = {}) => {
      const recorded: Program[] = [];
      for (const stage of stages) recorded.push(await stage.programs.record(label, units, (p) => record(p, stage), options));
      return recorded;
    };
    for (let slot = 0; slot < this.slots; slot++) {
      const caches = this.#caches.map((cache) => ({ ...cache, slot }));
      const prefill = await inStages("prefill", this.chunk, (p, stage) => this.#recordPrefill(p, stage, caches));
      const head = await last.programs.record("head", this.chunk, (p) => this.#recordFirst(p, last, slot), { defer });
      this.#slots.push({ prefill, head });
    }
    // A program for each number of busy slots: which kernels are best differs, and what is computed for rows that are not there is lost.
    for (let busy = 1; busy <= this.slots; busy++) {
      this.#decodes.push(await inStages("decode", busy, (p, stage) => this.#recordDecode(p, stage), { defer }));
    }
  }

  /** Every program, for `Programs.warm`. */
  programs(): Program[] {
    return [...this.#slots.flatMap(({ prefill, head }) => [...prefill, head]), ...this.#decodes.flat()];
  }

  /** A chunk of one sequence: `step.units` of its ids from `step.start` on. */
  #recordPrefill(p: Program, stage: Stage, caches: readonly KvCache[]): void {
    const { ids, language, stages } = this.parts;
    recordDecoder(p, language, stage, stage === stages[0] ? ids : undefined, caches, stateOf(this.parts));
  }

  /** Logits of a chunk's last position, and the first new id of a slot. */
  #recordFirst(p: Program, { x }: Stage, slot: number): void {
    const { language } = this.parts;
    const logits = recordHead(p, language, x, { last: true, out: { ...this.#logits, rows: { base: 1, unit: 0 } } });
    sample(p, logits, this.state, slot, logits.maxima);
  }

  /** One token of every busy slot: the last id of each goes in, the next one comes out, in `state.next`. */
  #recordDecode(p: Program, stage: Stage): void {
    const { language, stages } = this.parts;
    const ids = stage === stages[0] ? this.state.next : undefined;
    recordDecoder(p, language, stage, ids, this.#caches, stateOf(this.parts), { separate: true });
    if (stage !== stages.at(-1)) return;
    const logits = recordHead(p, language, stage.x, { out: this.#logits });
    sample(p, logits, this.state, "slots", logits.maxima);
  }

  /** Compiles what greedy decoding does without, where a way to sample, a mask or the telling of probabilities (`more`) needs it. */
  async prepareSampling(sampling: Sampling = GREEDY, more = false): Promise<void> {
    if (this.#drawing || !(more || alters(sampling))) return;
    await Promise.all([...this.#slots.map(({ head }) => head), ...this.#decodes.flat()].map((program) => program.prepare()));
    this.#drawing = true;
  }

  /** Sets how a slot samples; its random numbers and its counts of ids begin anew, and it has no mask. */
  setSampling(slot: number, sampling: Sampling): void {
    const { gpu, order } = this.parts;
    order.behind(() => setSampling(gpu.memory, this.state, slot, sampling));
  }

  /** Sets what the slot's next id may be, a bit an id, and how often ids were chosen that no step has chosen. */
  setChoice(slot: number, mask: Uint32Array<ArrayBuffer> | undefined, counts?: ReadonlyMap<number, number>): void {
    const { gpu, order } = this.parts;
    if (!mask && !counts) return;
    order.behind(() => {
      if (mask) setMask(gpu.memory, this.state, slot, mask);
      if (counts) setCounts(gpu.memory, this.state, slot, counts);
    });
  }

  /** Whether the next steps also say how probable their ids were. */
  setTelling(tells: boolean): void {
    this.parts.order.behind(() => {
      this.state.tells = tells;
    });
  }

  /**
   * Computes keys and values of a slot's positions start … ids.length - 1; what comes before `start` must be in its cache.
   * `after` is called when a chunk has been submitted. Returns how many tokens the last chunk had. @throws EngineError device-lost
   */
  async prefill(
    slot: number,
    ids: Uint32Array<ArrayBuffer>,
    start: number,
    options: { program?: Program | undefined; after?: ((start: number, units: number) => Promise<void> | void) | undefined } = {},
  ): Promise<number> {
    const { program, after } = options;
    const programs = program ? [program] : this.#slots[slot]!.prefill;
    const { gpu, order } = this.parts;
    gpu.memory.write(this.parts.ids, start * 4, ids.subarray(start));
    const { maxUnits } = programs[0]!;
    let units = 0;
    for (let at = start; at < ids.length; at += maxUnits) {
      gpu.memory.assertAlive();
      units = Math.min(maxUnits, ids.length - at);
      order.run(programs, { units, start: at });
      await order.entered();
      await after?.(at, units);
    }
    return units;
  }

  /** Behind a prefill whose last chunk had `units` tokens: logits of the last position, and the slot's first new id. */
  first(slot: number, units: number, copy?: CopyOut): Promise<void> | undefined {
    const { head } = this.#slots[slot]!;
    return this.parts.order.behind(() => head.run({ units, start: 0 }, { tail: copy }));
  }

  /** Decodes one token of each slot that has a position: where its last id goes in. Nothing is waited for. */
  decode(positions: readonly (number | undefined)[], copy?: CopyOut): Promise<void> | undefined {
    const slots = [...positions.keys()].filter((slot) => positions[slot] !== undefined);
    const busy = slots.map((slot) => positions[slot]!);
    const { gpu, order } = this.parts;
    gpu.counters.decodeSteps++;
    const step = { units: busy.length, start: Math.max(...busy), positions: busy, slots };
    return order.run(this.#decodes[busy.length - 1]!, step, { tail: copy, chosen: true });
  }

  /** Slot 0's logits of the last step [vocab]. */
  async readLogits(): Promise<Float32Array<ArrayBuffer>> {
    await this.parts.order.idle();
    return new Float32Array(await this.parts.gpu.memory.read(this.#logits.buffer, 0, this.#logits.width * 4));
  }

  /** Slot 0's next id. */
  async readId(): Promise<number> {
    await this.parts.order.idle();
    return new Uint32Array(await this.parts.gpu.memory.read(this.state.next, 0, 4))[0]!;
  }

  #disposePrograms(): void {
    for (const program of this.programs()) program.dispose();
    this.#slots = [];
    this.#decodes = [];
  }

  /** Frees caches and programs. */
  dispose(): void {
    const { memory } = this.parts.gpu;
    for (const [i, cache] of this.#caches.entries()) for (const buffer of buffersOf(cache)) this.#gpuOf(i).memory.destroy(buffer);
    this.#disposePrograms();
    destroySampleState(memory, this.state);
    memory.destroy(bindingOf(this.#logits.buffer).buffer);
  }
}
