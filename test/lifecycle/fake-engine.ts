import { EngineError } from "../../src/errors.ts";
import type { Allowed, Constraint } from "../../src/generate/constraint.ts";
import type { Choosing, Engine } from "../../src/generate/engine.ts";
import type { GenerateRequest } from "../../src/generate/request.ts";

export const CONTEXT = 40;
export const PICTURE = 999; // the id of visual tokens

/** An id that all before it decide, and the seed: one wrong value in a cache, and every id from there on is another. */
const hash = (values: readonly (string | number)[], seed: number): number => {
  let sum = 2166136261 ^ seed;
  for (const letter of values.join()) sum = Math.imul(sum ^ letter.charCodeAt(0), 16777619);
  return (sum >>> 0) % 900;
};

/** What a cache holds of a prompt: ids, and for visual tokens which picture. */
const contentsOf = ({ inputIds, images, imageContextId }: GenerateRequest): (string | number)[] => {
  let tile = 0;
  return inputIds.map((id) => (id === imageContextId ? `${images!.keys[tile++]}` : id));
};

const seedOf = ({ sampling }: GenerateRequest): number => sampling?.seed ?? 0;

/** The first id from `id` on that a mask allows. */
export function nearestOf(mask: Uint32Array, id: number): number {
  for (let i = 0; i < 32 * mask.length; i++) {
    const next = (id + i) % (32 * mask.length);
    if ((mask[next >> 5]! >>> (next & 31)) & 1) return next;
  }
  throw new Error("a mask of nothing");
}

/** What may follow some ids of an answer: often one id only. */
const allowedAfter = (ids: readonly number[], salt: number): number[] => {
  const first = hash(ids, salt);
  return first % 2 === 0 ? [first, (first * 7 + 13) % 900, (first * 31 + 5) % 900] : [first];
};

function maskOf(ids: readonly number[]): Uint32Array<ArrayBuffer> {
  const mask = new Uint32Array(32);
  for (const id of ids) mask[id >> 5]! |= 1 << (id & 31);
  return mask;
}

/** A constraint that knows all ids so far: one that is missing, or comes twice, and it allows others. Each of its answers takes a while. */
export class FakeConstraint implements Constraint {
  readonly #ids: number[] = [];
  readonly #later: () => Promise<void>;
  readonly salt: number;
  under = 0; // advances under way

  constructor(salt: number, later: () => Promise<void> = async () => {}) {
    this.salt = salt;
    this.#later = later;
  }

  async advance(id: number | undefined, force: boolean): Promise<Allowed> {
    if (++this.under > 1) throw new Error("asked twice at once");
    await this.#later();
    this.under--;
    return this.#next(id, force);
  }

  #next(id: number | undefined, force: boolean): Allowed {
    if (id !== undefined) this.#ids.push(id);
    const forced: number[] = [];
    for (;;) {
      const ids = allowedAfter(this.#ids, this.salt);
      const mask = maskOf(ids);
      if (!force || ids.length > 1 || forced.at(-1)! % 10 === 0) return { forced, mask };
      forced.push(ids[0]!);
      this.#ids.push(ids[0]!);
    }
  }
}

/** The ids that a request gets when it is alone. */
export function alone(request: GenerateRequest): number[] {
  const contents = contentsOf(request);
  const ids: number[] = [];
  const end = Math.min(CONTEXT, request.maxContext ?? CONTEXT, contents.length + request.maxTokens);
  while (contents.length < end) {
    const free = hash(contents, seedOf(request));
    const salt = (request.constraint as FakeConstraint | undefined)?.salt;
    const id = salt === undefined ? free : nearestOf(maskOf(allowedAfter(ids, salt)), free);
    ids.push(id);
    contents.push(id);
    if (id % 10 === 0) break;
  }
  return ids;
}

/** A model without a GPU: caches are lists, and what was submitted runs in order, each after a while. */
export class FakeEngine implements Engine {
  readonly context = CONTEXT;
  readonly counters = { awaitedReadbacks: 0, cpuMs: 0 };
  readonly most: number;
  slots = 1;
  sizes: number[] = [];
  steps = 0;
  shared = 0; // steps of several slots
  extended = 0; // ids that were put into caches without steps
  lost: EngineError | undefined;
  #caches: (string | number)[][] = [[]];
  #seeds: number[] = [0];
  #next: number[] = [0];
  #queue: Promise<void> = Promise.resolve();
  #pending = 0;
  #rows: { slot: number; length: number } | undefined; // what the model has worked on last, where it was no step: logits are of its last row
  readonly #tick: () => number;

  constructor(most: number, tick: () => number) {
    this.most = most;
    this.#tick = tick;
  }

  get room(): number {
    return 8 - this.#pending;
  }

  check({ inputIds }: GenerateRequest): void {
    if (inputIds.length >= CONTEXT) throw new EngineError("context-overflow", "too long");
  }

  async #later(): Promise<void> {
    for (let i = this.#tick(); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
    if (this.lost) throw this.lost;
  }

  #submit<T>(run: () => T): Promise<T> {
    const done = this.#queue.then(async () => {
      await this.#later();
      return run();
    });
    this.#queue = done.then(
      () => {},
      () => {},
    );
    done.catch(() => {});
    return done;
  }

  async resize(slots: number): Promise<void> {
    await this.#later();
    this.sizes.push(slots);
    this.slots = slots;
    const grown = <T>(list: T[], empty: () => T) => Array.from({ length: slots }, (_, i) => list[i] ?? empty());
    await this.#submit(() => {
      this.#caches = grown(this.#caches, () => []);
      this.#seeds = grown(this.#seeds, () => 0);
      this.#next = grown(this.#next, () => 0);
    });
  }

  async *prefill(slot: number, request: GenerateRequest, start: number, gently: () => boolean): AsyncGenerator<number, void> {
    const contents = contentsOf(request);
    for (let at = start; at < contents.length; ) {
      const end = Math.min(contents.length, at + (gently() ? 3 : 10));
      const from = at;
      this.#submit(() => {
        for (let i = from; i < end; i++) this.#caches[slot]![i] = contents[i]!;
        this.#rows = { slot, length: end };
      });
      await this.#later();
      at = end;
      yield end - from;
    }
  }

  #ticket(run: () => void): { words: Promise<Uint32Array> } {
    this.#pending++;
    const words = this.#submit(() => {
      run();
      return Uint32Array.from(this.#next);
    }).finally(() => this.#pending--);
    words.catch(() => {});
    return { words };
  }

  #choose(slot: number, length: number, mask?: Uint32Array): void {
    const id = hash(this.#caches[slot]!.slice(0, length), this.#seeds[slot]!);
    this.#next[slot] = mask ? nearestOf(mask, id) : id;
  }

  async extend(slot: number, ids: readonly number[], start: number): Promise<number> {
    this.extended += ids.length;
    this.#submit(() => {
      for (const [i, id] of ids.entries()) this.#caches[slot]![start + i] = id;
      this.#rows = { slot, length: start + ids.length };
    });
    return ids.length;
  }

  async first(slot: number, _units: number, { sampling, mask }: Choosing): Promise<{ words: Promise<Uint32Array> }> {
    await this.#later();
    return this.#ticket(() => {
      const length = this.#rows?.slot === slot ? this.#rows.length : 0; // another's: a wrong id
      if (sampling) this.#seeds[slot] = sampling.seed;
      this.#choose(slot, length, mask);
    });
  }

  decode(positions: readonly (number | undefined)[], _tell: boolean, masks: readonly Choosing["mask"][]): { words: Promise<Uint32Array> } {
    this.steps++;
    if (positions.filter((position) => position !== undefined).length > 1) this.shared++;
    return this.#ticket(() => {
      this.#rows = undefined;
      for (const [slot, position] of positions.entries()) {
        if (position === undefined) continue;
        this.#caches[slot]![position] = this.#next[slot]!;
        this.#choose(slot, position + 1, masks[slot]);
      }
    });
  }

  flush(): Promise<void> {
    return this.#submit(() => {});
  }
}
