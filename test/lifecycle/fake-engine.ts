import { EngineError } from "../../src/errors.ts";
import type { Engine } from "../../src/generate/engine.ts";
import type { GenerateRequest } from "../../src/generate/request.ts";
import type { Sampling } from "../../src/ops/sample.ts";

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

/** The ids that a request gets when it is alone. */
export function alone(request: GenerateRequest): number[] {
  const contents = contentsOf(request);
  const ids: number[] = [];
  const end = Math.min(CONTEXT, request.maxContext ?? CONTEXT, contents.length + request.maxTokens);
  while (contents.length < end) {
    const id = hash(contents, seedOf(request));
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
  lost: EngineError | undefined;
  #caches: (string | number)[][] = [[]];
  #seeds: number[] = [0];
  #next: number[] = [0];
  #queue: Promise<void> = Promise.resolve();
  #pending = 0;
  readonly #lengths = new Map<number, number>(); // of the prompt in each slot
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
    this.#lengths.set(slot, contents.length);
    for (let at = start; at < contents.length; ) {
      const end = Math.min(contents.length, at + (gently() ? 3 : 10));
      const from = at;
      this.#submit(() => {
        for (let i = from; i < end; i++) this.#caches[slot]![i] = contents[i]!;
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

  #choose(slot: number, length: number): void {
    this.#next[slot] = hash(this.#caches[slot]!.slice(0, length), this.#seeds[slot]!);
  }

  async first(slot: number, _units: number, { seed }: Sampling): Promise<{ words: Promise<Uint32Array> }> {
    const length = this.#lengths.get(slot)!;
    await this.#later();
    return this.#ticket(() => {
      this.#seeds[slot] = seed;
      this.#choose(slot, length);
    });
  }

  decode(positions: readonly (number | undefined)[]): { words: Promise<Uint32Array> } {
    this.steps++;
    if (positions.filter((position) => position !== undefined).length > 1) this.shared++;
    return this.#ticket(() => {
      for (const [slot, position] of positions.entries()) {
        if (position === undefined) continue;
        this.#caches[slot]![position] = this.#next[slot]!;
        this.#choose(slot, position + 1);
      }
    });
  }

  flush(): Promise<void> {
    return this.#submit(() => {});
  }
}
