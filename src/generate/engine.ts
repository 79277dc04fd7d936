import { EngineError } from "../errors.ts";
import type { Counters } from "../gpu/counters.ts";
import type { Gpu } from "../gpu/device.ts";
import { type ReadRing, readRing, type Ticket } from "../gpu/ring.ts";
import type { CopyOut } from "../model/decoder-slots.ts";
import type { Model } from "../model/internvl.ts";
import { evenly } from "../model/steps.ts";
import { type Sampling, TOP } from "../ops/sample-state.ts";
import { visualTokens } from "./prefix.ts";
import type { GenerateRequest } from "./request.ts";

/** How probable ids were: logits as the model gave them. */
export interface Told {
  /** ln Σ exp over all logits. */
  norm: number;
  /** The logit that the chosen id had after penalties and biases. */
  chosen: number;
  /** The largest, in order: `TOP` of them, or all. */
  top: readonly { id: number; logit: number }[];
}

/** Ids on their way back, and, where it was asked for, how probable they were, by slot. */
export interface StepTicket extends Ticket {
  told?: Promise<(slot: number) => Told> | undefined;
}

/** How a slot's next id is chosen. */
export interface Choosing {
  /** How it samples from there on; as before where it is absent. */
  sampling?: Sampling | undefined;
  /** The ids that may be chosen, a bit an id; all by default. */
  mask?: Uint32Array<ArrayBuffer> | undefined;
  /** How often ids were chosen that no step has chosen. */
  counts?: ReadonlyMap<number, number> | undefined;
  tell: boolean;
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
  /** @throws EngineError bad-input, context-overflow: what is seen to be wrong with a request before its turn comes */
  check(request: GenerateRequest): void;
  /** Takes or gives back the memory of slots; those that stay keep their caches. @throws EngineError out-of-memory, limit-exceeded */
  resize(slots: number): Promise<void>;
  /**
   * Submits, a piece a time, what puts a prompt into a slot's cache from position `start` on: tiles through vision, then chunks. Each piece
   * tells how many positions it adds. One prompt at a time. Pieces are small while `gently` says so.
   */
  prefill(slot: number, request: GenerateRequest, start: number, gently: () => boolean): AsyncGenerator<number, void>;
  /** Submits what puts ids of an answer into a slot's cache from position `start` on; how many positions its last chunk added. */
  extend(slot: number, ids: readonly number[], start: number): Promise<number>;
  /** Submits the choice of the next id, behind a prefill whose last piece added `units` positions. */
  first(slot: number, units: number, choosing: Choosing): Promise<StepTicket>;
  /** The next id of every slot that has a position: where its last id goes in. Masks are by slot, too, of those whose answers are constrained. */
  decode(positions: readonly (number | undefined)[], tell: boolean, masks: readonly Choosing["mask"][]): StepTicket;
  /** Waits until all that was submitted is done. @throws EngineError device-lost */
  flush(): Promise<void>;
}

/** Most steps that are on their way at once: few on a phone, whose driver has little room for what waits. */
const ringOf = ({ mobile }: Gpu): number => (mobile ? 3 : 8);
/** While others decode, a piece of a prompt is smaller by this factor: each of them waits for one piece between two of its ids. */
const gentlenessOf = ({ kind }: Gpu): number => (kind === "cpu" ? 8 : 4);

/** A model's slots as the scheduler sees them. */
export function engineOf(model: Model): Engine {
  const { decoder, gpu, visual, config } = model;
  const { context, state } = decoder;
  const most = state.slots;
  const ring = readRing(gpu, ringOf(gpu), most * 4);
  let toldRing: ReadRing | undefined; // from when somebody wants to know

  function check(request: GenerateRequest): void {
    const { inputIds, images, imageContextId, maxContext = context } = request;
    if (inputIds.length === 0) throw new EngineError("bad-input", "the prompt is empty");
    const room = Math.min(maxContext, context);
    if (inputIds.length >= room) {
      throw new EngineError("context-overflow", `the prompt has ${inputIds.length} tokens, the context has ${room} with the answer`, {
        hint: "shorten the prompt, use fewer tiles (maxTiles), or load with a larger maxContext",
      });
    }
    // Visual tokens in the prompt and from the tiles must agree, as upstream asserts.
    const placeholders = visualTokens(inputIds, imageContextId);
    const tiles = images?.count ?? 0;
    const perTile = tokensOfTile(request);
    if (placeholders !== tiles * perTile) {
      const gives = `the images give ${tiles * perTile} (${tiles} tiles)`;
      const hint = "put one <image> into the question for every image";
      throw new EngineError("bad-input", `the prompt has ${placeholders} <IMG_CONTEXT> tokens, ${gives}`, { hint });
    }
    model.mergeIds(inputIds, imageContextId);
  }

  function tokensOfTile({ images }: GenerateRequest): number {
    const { vision, tokensPerTile } = config;
    return images ? (images.size / vision.patchSize / 2) ** 2 : tokensPerTile;
  }

  async function* prefill(slot: number, request: GenerateRequest, start: number, gently: () => boolean): AsyncGenerator<number, void> {
    const { inputIds, images, imageContextId, onProgress } = request;
    const gentleness = gentlenessOf(gpu);
    const size = (most: number) => (gently() ? Math.ceil(most / gentleness) : most);
    const perTile = tokensOfTile(request);
    // The first tile whose visual tokens are not all in the slot's cache.
    const first = Math.floor(visualTokens(inputIds, imageContextId, start) / perTile);
    const layout = images && visual.place(images.keys, first, perTile);
    const total = layout?.missing.length ?? 0;
    const encoded = () => onProgress?.({ phase: "vision", loaded: total - layout!.missing.length, total });
    if (total > 0) encoded();
    while (layout && layout.missing.length > 0) {
      const { program } = await model.visionStage(images.size);
      await model.runVision(images, layout.missing.splice(0, evenly(layout.missing.length, size(program.maxUnits))), layout);
      encoded();
      yield 0;
    }
    const ids = model.mergeIds(inputIds, imageContextId, layout);
    for (let at = start; at < ids.length; ) {
      onProgress?.({ phase: "prefill", loaded: at - start, total: ids.length - start }); // the pieces before this one are done
      const units = await decoder.prefill(slot, ids.subarray(0, at + size(decoder.chunk)), at);
      at += units;
      yield units;
    }
  }

  function extend(slot: number, ids: readonly number[], start: number): Promise<number> {
    const all = new Uint32Array(start + ids.length);
    all.set(ids, start);
    return decoder.prefill(slot, all, start);
  }

  async function first(slot: number, units: number, { sampling, mask, counts, tell }: Choosing): Promise<StepTicket> {
    await decoder.prepareSampling(sampling, mask !== undefined || tell);
    if (sampling) decoder.setSampling(slot, sampling);
    decoder.setChoice(slot, mask, counts);
    return submit((copy) => decoder.first(slot, units, copy), tell);
  }

  function decode(positions: readonly (number | undefined)[], tell: boolean, masks: readonly Choosing["mask"][]): StepTicket {
    for (const [slot, mask] of masks.entries()) if (positions[slot] !== undefined) decoder.setChoice(slot, mask);
    return submit((copy) => decoder.decode(positions, copy), tell);
  }

  /** Runs a step whose ids come back, with how probable they were. */
  function submit(run: (copy: CopyOut) => Promise<void> | undefined, tell: boolean): StepTicket {
    decoder.setTelling(tell);
    if (!tell) return ring.submit(state.next, run);
    const words = 2 * (1 + TOP); // a slot
    toldRing ??= readRing(gpu, ringOf(gpu), most * words * 4);
    let ids!: Ticket;
    const both = (copyTold: CopyOut) => {
      let submitted: Promise<void> | undefined;
      ids = ring.submit(state.next, (copyIds) => {
        submitted = run((encoder) => {
          copyIds(encoder);
          copyTold(encoder);
        });
        return submitted;
      });
      return submitted;
    };
    const told = toldRing.submit(state.probabilities, both).words.then(({ buffer }) => (slot: number): Told => {
      const values = new Float32Array(buffer, slot * words * 4, words);
      const top = Array.from(new Uint32Array(buffer, slot * words * 4, words)).flatMap((id, at) =>
        at > 1 && at % 2 && id < state.vocabSize ? { id, logit: values[at - 1]! } : [],
      );
      return { norm: values[0]!, chosen: values[1]!, top };
    });
    told.catch(() => {}); // told to whoever waits for them; a step may be dropped
    return { ...ids, told };
  }

  async function flush(): Promise<void> {
    await model.flush();
    await ring.room(); // dropped steps have come back too
  }

  return {
    context,
    most,
    get slots(): number {
      return decoder.slots;
    },
    get room(): number {
      return Math.min(ring.free, toldRing?.free ?? ring.free);
    },
    counters: gpu.counters,
    check,
    resize: (slots) => decoder.resize(slots),
    prefill,
    extend,
    first,
    decode,
    flush,
  };
}
