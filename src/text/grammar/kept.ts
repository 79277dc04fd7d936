import { MOST_WORK } from "./work.ts";

const MOST = 32;

/** What was compiled, by its grammar: the last used 32, and no more than take as much to compile, and memory, as one may. */
export class Kept<T> {
  readonly #made = new Map<string, { work: number; made: Promise<T> }>();
  readonly #drop: (made: T) => void;

  /** @param drop takes what goes */
  constructor(drop: (made: T) => void) {
    this.#drop = drop;
  }

  get(key: string, work: number, make: () => Promise<T>): Promise<T> {
    const known = this.#made.get(key);
    const made = known?.made ?? make();
    this.#made.delete(key);
    this.#made.set(key, { work, made }); // the last used is the last to go
    const all = () => [...this.#made.values()].reduce((sum, each) => sum + each.work, 0);
    while (this.#made.size > MOST || (this.#made.size > 1 && all() > MOST_WORK)) void this.#forget(this.#made.keys().next().value!);
    return made;
  }

  async #forget(key: string): Promise<void> {
    const { made } = this.#made.get(key)!;
    this.#made.delete(key);
    await made.then(this.#drop, () => {}); // its failure is told to whoever asked for it
  }

  async clear(): Promise<void> {
    await Promise.all([...this.#made.keys()].map((key) => this.#forget(key)));
  }
}
