import { MOST_WORK } from "./work.ts";

const MOST = 32;

interface Entry<T> {
  work: number;
  made: Promise<T>;
  /** Ends with the last that takes it: it must not go before. */
  taken: Promise<unknown>;
}

/** What was compiled, by its grammar: the last used 32, and no more than take as much to compile, and memory, as one may. */
export class Kept<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #drop: (made: T) => void;

  /** @param drop takes what goes, when nobody takes it any more */
  constructor(drop: (made: T) => void) {
    this.#drop = drop;
  }

  /** What `take` makes of what is kept, or else made now. */
  take<R>(key: string, work: number, make: () => Promise<T>, take: (made: T) => Promise<R>): Promise<R> {
    const { made, taken } = this.#entries.get(key) ?? { made: make(), taken: undefined };
    const result = made.then(take);
    this.#entries.delete(key);
    this.#entries.set(key, { work, made, taken: Promise.allSettled([taken, result]) }); // the last used is the last to go
    const all = () => [...this.#entries.values()].reduce((sum, each) => sum + each.work, 0);
    while (this.#entries.size > MOST || (this.#entries.size > 1 && all() > MOST_WORK))
      void this.#forget(this.#entries.keys().next().value!);
    return result;
  }

  async #forget(key: string): Promise<void> {
    const { made, taken } = this.#entries.get(key)!;
    this.#entries.delete(key);
    await taken;
    await made.then(this.#drop, () => {}); // its failure is told to whoever asked for it
  }

  async clear(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((key) => this.#forget(key)));
  }
}
