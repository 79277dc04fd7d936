import { EngineError } from "../errors.ts";
import type { Counters } from "../gpu/counters.ts";
import type { Gpu } from "../gpu/device.ts";
import { ReadRing, type Ticket } from "../gpu/ring.ts";
import type { CopyOut } from "../model/decoder-slots.ts";
import type { Model } from "../model/internvl.ts";
import { evenly } from "../model/steps.ts";
import type { Sampling } from "../ops/sample.ts";
import { visualTokens } from "./prefix.ts";
import type { GenerateRequest } from "./request.ts";

/** Ids on their way back, and, where they were asked for, the logits that each was chosen from: a row of the vocabulary for each id, in the order of slots. */
export interface StepTicket extends Ticket {
  logits?: Promise<Float32Array[]> | undefined;
}

/** What the scheduler needs of a model. Whatever is submitted runs in the order in which it was, and nothing but promises is waited for. */
export interface Engine {
  /** Positions of a slot. */
  readonly context: number;
  /** Slots that have memory, and the most that there can be. */
  readonly slots: number;
  readonly most: number;
  /** Steps that can be submitted before one has to come back. */
  readonly room: number;
  readonly counters: Pick<Counters, "awaitedReadbacks" | "cpuMs">;
  /** @throws EngineError bad-input, context-overflow: what can be told of a request before its turn comes */
  check(request: GenerateRequest): void;
  /** Takes or gives back the memory of slots; those that stay keep their caches. @throws EngineError out-of-memory, limit-exceeded */
  resize(slots: number): Promise<void>;
  /**
   * Submits, a piece a time, what puts a prompt into a slot's cache from position `start` on: tiles through vision, then chunks. Each piece
   * tells how many positions it adds. One prompt at a time. Pieces are small while `gently` says so.
   */
  prefill(slot: number, request: GenerateRequest, start: number, gently: () => boolean): AsyncGenerator<number, void>;
  /** Submits the choice of the first id, behind a prefill whose last piece added `units` positions; and sets how the slot samples from there on. */
  first(slot: number, units: number, sampling: Sampling, logits: boolean): Promise<StepTicket>;
  /** The next id of every slot that has a position: where its last id goes in. */
  decode(positions: readonly (number | undefined)[], logits: boolean): StepTicket;
  /** Waits until all that was submitted is done. @throws EngineError device-lost */
  flush(): Promise<void>;
}

/** Most steps that are on their way at once: few on a phone, whose driver has little room for what waits. */
const ringOf = ({ mobile }: Gpu): number => (mobile ? 3 : 8);
/** While others decode, a piece of a prompt is smaller by this factor: each of them waits for one piece between two of its ids. */
const GENTLE = 4;

/** A model's slots as the scheduler sees them. */
export class ModelEngine implements Engine {
  readonly #model: Model;
  readonly #ring: ReadRing;
  #logitRing: ReadRing | undefined; // from when somebody asks for logits

  constructor(model: Model) {
    this.#model = model;
    this.#ring = new ReadRing(model.gpu, ringOf(model.gpu), this.most * 4);
  }

  get context(): number {
    return this.#model.decoder.context;
  }

  get slots(): number {
    return this.#model.decoder.slots;
  }

  get most(): number {
    return this.#model.decoder.state.slots;
  }

  get room(): number {
    return Math.min(this.#ring.free, this.#logitRing?.free ?? this.#ring.free);
  }

  get counters(): Counters {
    return this.#model.gpu.counters;
  }

  check(request: GenerateRequest): void {
    const { inputIds, images, imageContextId, maxContext = this.context } = request;
    if (inputIds.length === 0) throw new EngineError("bad-input", "the prompt is empty");
    const context = Math.min(maxContext, this.context);
    if (inputIds.length >= context) {
      throw new EngineError("context-overflow", `the prompt has ${inputIds.length} tokens, the context has ${context} with the answer`, {
        hint: "shorten the prompt, use fewer tiles (maxTiles), or load with a larger maxContext",
      });
    }
    // Visual tokens in the prompt and from the tiles must agree, as upstream asserts.
    const placeholders = visualTokens(inputIds, imageContextId);
    const tiles = images?.count ?? 0;
    const perTile = this.#perTile(request);
    if (placeholders !== tiles * perTile) {
      const gives = `the images give ${tiles * perTile} (${tiles} tiles)`;
      throw new EngineError("bad-input", `the prompt has ${placeholders} <IMG_CONTEXT> tokens, ${gives}`, {
        hint: "put one <image> into the question for every image; <IMG_CONTEXT> cannot be typed",
      });
    }
    this.#model.mergeIds(inputIds, imageContextId);
  }

  #perTile({ images }: GenerateRequest): number {
    const { vision, tokensPerTile } = this.#model.config;
    return images ? (images.size / vision.patchSize / 2) ** 2 : tokensPerTile;
  }

  resize(slots: number): Promise<void> {
    return this.#model.decoder.resize(slots);
  }

  async *prefill(slot: number, request: GenerateRequest, start: number, gently: () => boolean): AsyncGenerator<number, void> {
    const { inputIds, images, imageContextId } = request;
    const { decoder, visual } = this.#model;
    const size = (most: number) => (gently() ? Math.ceil(most / GENTLE) : most);
    const perTile = this.#perTile(request);
    // The first tile whose visual tokens are not all in the slot's cache.
    const first = Math.floor(visualTokens(inputIds, imageContextId, start) / perTile);
    const layout = images && visual.place(images.keys, first, perTile);
    while (layout && layout.missing.length > 0) {
      const { program } = await this.#model.recordVision(images.size);
      await this.#model.runVision(images, layout.missing.splice(0, evenly(layout.missing.length, size(program.maxUnits))), layout);
      yield 0;
    }
    const ids = this.#model.mergeIds(inputIds, imageContextId, layout);
    for (let at = start; at < ids.length; ) {
      const units = await decoder.prefill(slot, ids.subarray(0, at + size(decoder.chunk)), at);
      at += units;
      yield units;
    }
  }

  async first(slot: number, units: number, sampling: Sampling, logits: boolean): Promise<StepTicket> {
    const { decoder } = this.#model;
    await decoder.prepareSampling(sampling);
    decoder.setSampling(slot, sampling);
    return this.#submit((copy) => decoder.first(slot, units, copy), logits ? 1 : 0);
  }

  decode(positions: readonly (number | undefined)[], logits: boolean): StepTicket {
    const { decoder } = this.#model;
    return this.#submit((copy) => decoder.decode(positions, copy), logits ? positions.filter((each) => each !== undefined).length : 0);
  }

  /** Runs a step whose ids come back, with the first `rows` rows of logits. */
  #submit(run: (copy: CopyOut) => void, rows: number): StepTicket {
    const { decoder, gpu } = this.#model;
    const { vocabSize } = decoder.state;
    if (rows === 0) return this.#ring.submit(decoder.state.next, run);
    this.#logitRing ??= new ReadRing(gpu, ringOf(gpu), this.most * vocabSize * 4);
    let ids!: Ticket;
    const both = (copyLogits: CopyOut) => {
      ids = this.#ring.submit(decoder.state.next, (copyIds) =>
        run((encoder) => {
          copyIds(encoder);
          copyLogits(encoder);
        }),
      );
    };
    const { words } = this.#logitRing.submit(decoder.logits, both, rows * vocabSize * 4);
    const row = (all: Float32Array, i: number) => all.subarray(i * vocabSize, (i + 1) * vocabSize);
    const logits = words.then(({ buffer }) => Array.from({ length: rows }, (_, i) => row(new Float32Array(buffer), i)));
    logits.catch(() => {}); // told to whoever waits for them; a step may be dropped
    return { ...ids, logits };
  }

  async flush(): Promise<void> {
    await this.#model.gpu.memory.flush();
    await this.#ring.room(); // dropped steps have come back too
  }
}
