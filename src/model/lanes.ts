import { throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Program, Programs, Tap } from "../gpu/program.ts";
import type { KvCache, KvDtype } from "../ops/kv-cache.ts";
import { createSampleState, destroySampleState, type SampleState, type Sampling, sample, setSampling } from "../ops/sample.ts";
import { type Activation, bindingOf } from "../tensor/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { type DecoderState, type DecoderWeights, recordDecoder, recordHead } from "./decoder.ts";
import { createCaches } from "./language.ts";

/** Tokens in one prefill step: activations are sized for it, whatever the prompt's length. */
const CHUNK = 512;

/** What every lane of a model works with. */
export interface DecoderParts {
  gpu: Gpu;
  config: ModelConfig;
  programs: Programs;
  language: DecoderWeights;
  kv: KvDtype; // how the lanes hold keys and values
  rope: GPUBuffer; // (cos, sin) [maxContext, headDim / 2]
  ids: GPUBuffer; // u32 [maxContext]: the prompt in prefill
  visual: GPUBuffer; // f32 [maxContext, H]: visual tokens of the prompt in prefill
  x: Activation; // [CHUNK, H]: the residual stream
}

/** The residual stream, as long as a chunk. */
export function createResidual(gpu: Gpu, width: number): Activation {
  return { label: "x", rows: { base: 0, unit: 1 }, width, buffer: gpu.memory.create("residual", CHUNK * width * 4) };
}

interface Row {
  prefill: Program;
  head: Program;
}

/** A program whose intermediates are tapped. */
export interface Trace {
  program: Program;
  dispose(): void;
}

function destroyCaches({ memory }: Gpu, caches: readonly KvCache[]): void {
  for (const { keys, values } of caches) for (const each of [keys, values]) memory.destroy(bindingOf(each).buffer);
}

export type CopyOut = (encoder: GPUCommandEncoder) => void;

/** Sequences that are decoded together, a row each, with their KV caches and the recorded programs. */
export class Lanes {
  /** Positions of each row. */
  readonly context: number;
  readonly state: SampleState;
  readonly #parts: DecoderParts;
  #caches: KvCache[] = []; // of every layer
  readonly #rows: Row[] = [];
  readonly #logits: Activation; // [rows, vocab]
  readonly #decodes: Program[] = []; // for 1, 2, … busy rows

  private constructor(parts: DecoderParts, rows: number, context: number) {
    this.#parts = parts;
    this.context = context;
    const { memory } = parts.gpu;
    const { vocabSize } = parts.config.language;
    this.state = createSampleState(memory, rows, vocabSize);
    const buffer = memory.create("logits", rows * vocabSize * 4);
    this.#logits = { label: "logits", rows: { base: 0, unit: 1 }, width: vocabSize, buffer };
  }

  /** Allocates `rows` caches of `context` positions and records their programs. @throws EngineError limit-exceeded, out-of-memory */
  static open(parts: DecoderParts, rows: number, context: number): Promise<Lanes> {
    return parts.gpu.memory.scoped(`${rows} KV caches of ${context} tokens`, async () => {
      const lanes = new Lanes(parts, rows, context);
      try {
        lanes.#caches = createCaches(parts.gpu, parts.config.language, context, rows, parts.kv);
        for (let i = 0; i < rows; i++) await lanes.#openRow(i);
        // A program a number of rows: which kernels are best differs, and what is computed for rows that are not there is lost.
        for (let busy = 1; busy <= rows; busy++) {
          lanes.#decodes.push(await parts.programs.record("decode", busy, (p) => lanes.#recordDecode(p), { defer: true }));
        }
        return lanes;
      } catch (error) {
        lanes.dispose();
        throw error;
      }
    });
  }

  async #openRow(row: number): Promise<void> {
    const { programs } = this.#parts;
    const caches = this.#caches.map((cache) => ({ ...cache, row }));
    const chunk = Math.min(CHUNK, this.context);
    const prefill = await programs.record("prefill", chunk, (p) => this.#recordPrefill(p, caches));
    const head = await programs.record("head", chunk, (p) => this.#recordFirst(p, row), { defer: true });
    this.#rows.push({ prefill, head });
  }

  /** Every program, for `Programs.warm`. */
  programs(): Program[] {
    return [...this.#rows.flatMap(({ prefill, head }) => [prefill, head]), ...this.#decodes];
  }

  /** A chunk of one sequence: `step.units` of its ids from `step.start` on. */
  #recordPrefill(p: Program, caches: readonly KvCache[], tap?: Tap): void {
    const { ids, language, x } = this.#parts;
    recordDecoder(p, language, x, ids, caches, this.#decoderState, { tap });
  }

  /** Logits of a chunk's last position, and the first new id of a row. */
  #recordFirst(p: Program, row: number): void {
    const { language, x } = this.#parts;
    const logits = { ...this.#logits, rows: { base: 1, unit: 0 } };
    recordHead(p, language, x, { last: true, out: logits });
    sample(p, logits, this.state, row);
  }

  /** One token of every busy row: the last id of each goes in, the next one comes out, in `state.next`. */
  #recordDecode(p: Program): void {
    const { language, x } = this.#parts;
    recordDecoder(p, language, x, this.state.next, this.#caches, this.#decoderState, { separate: true });
    recordHead(p, language, x, { out: this.#logits });
    sample(p, this.#logits, this.state, "slots");
  }

  get #decoderState(): DecoderState {
    const { visual, rope, config } = this.#parts;
    return { visual, rope, heads: config.language.heads };
  }

  /**
   * A prefill of up to `context` tokens with every intermediate, the final norm and the logits of every position. Its keys and values are
   * its own, in f32: what is traced is the arithmetic, without the rounding of a cache.
   */
  async recordTrace(tap: Tap, context: number): Promise<Trace> {
    const { gpu, programs, config, language, x } = this.#parts;
    const caches = createCaches(gpu, config.language, context, 1, "f32").map((cache) => ({ ...cache, row: 0 }));
    // A traced step holds the logits of every position: as many rows as one binding takes.
    const rows = Math.min(CHUNK, context, Math.floor(gpu.memory.maxBinding / (this.#logits.width * 4)));
    const program = await programs.record("prefill", rows, (p) => {
      this.#recordPrefill(p, caches, tap);
      recordHead(p, language, x, { tap }); // [tokens, vocab]
    });
    return {
      program,
      dispose() {
        program.dispose();
        destroyCaches(gpu, caches);
      },
    };
  }

  /** Compiles what greedy decoding does without, where a way to sample needs it. */
  async prepareSampling(row: number, { temperature, repetitionPenalty }: Sampling): Promise<void> {
    if (temperature === 0 && repetitionPenalty === 1) return;
    await Promise.all([this.#rows[row]!.head, ...this.#decodes].map((program) => program.prepare()));
  }

  /** Sets how a row samples; its random numbers and the ids it has seen begin anew. */
  setSampling(row: number, sampling: Sampling): void {
    setSampling(this.#parts.gpu.memory, this.state, row, sampling);
  }

  /**
   * Computes keys and values of a row's positions start … ids.length - 1; what comes before `start` must be in its cache.
   * `after` is called when a chunk has been submitted. Returns how many tokens the last chunk had. @throws EngineError aborted, device-lost
   */
  async prefill(
    row: number,
    ids: Uint32Array<ArrayBuffer>,
    start: number,
    options: {
      signal?: AbortSignal | undefined;
      program?: Program | undefined;
      after?: ((start: number, units: number) => Promise<void> | void) | undefined;
    } = {},
  ): Promise<number> {
    const { signal, program = this.#rows[row]!.prefill, after } = options;
    const { memory } = this.#parts.gpu;
    memory.write(this.#parts.ids, start * 4, ids.subarray(start));
    let units = 0;
    for (let at = start; at < ids.length; at += program.maxUnits) {
      if (at > start) await memory.flush(); // one chunk in flight: an abort takes effect within it
      throwIfAborted(signal);
      memory.assertAlive();
      units = Math.min(program.maxUnits, ids.length - at);
      program.run({ units, start: at });
      await after?.(at, units);
    }
    return units;
  }

  /** Behind a prefill whose last chunk had `units` tokens: logits of the last position, and the row's first new id. */
  first(row: number, units: number, copy?: CopyOut): void {
    this.#rows[row]!.head.run({ units, start: 0 }, { tail: copy });
  }

  /** Decodes one token of each row that has a position: where its last id goes in. Nothing is waited for. */
  decode(positions: readonly (number | undefined)[], copy?: CopyOut): void {
    const slots = [...positions.keys()].filter((slot) => positions[slot] !== undefined);
    const busy = slots.map((slot) => positions[slot]!);
    this.#parts.gpu.counters.decodeSteps++;
    const step = { units: busy.length, start: Math.max(...busy), positions: busy, slots };
    this.#decodes[busy.length - 1]!.run(step, { tail: copy });
  }

  /** Row 0's logits of the last step [vocab]. */
  async readLogits(): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.#parts.gpu.memory.read(this.#logits.buffer, 0, this.#logits.width * 4));
  }

  /** Row 0's next id. */
  async readId(): Promise<number> {
    return new Uint32Array(await this.#parts.gpu.memory.read(this.state.next, 0, 4))[0]!;
  }

  /** Frees caches and programs. */
  dispose(): void {
    const { memory } = this.#parts.gpu;
    destroyCaches(this.#parts.gpu, this.#caches);
    for (const { prefill, head } of this.#rows) {
      prefill.dispose();
      head.dispose();
    }
    for (const decode of this.#decodes) decode.dispose();
    destroySampleState(memory, this.state);
    memory.destroy(bindingOf(this.#logits.buffer).buffer);
  }
}
