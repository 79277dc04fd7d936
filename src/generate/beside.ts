/** Work that goes on beside a loop: the loop goes its rounds without waiting for it, and sleeps when there is nothing else to do. */
export class Beside {
  readonly #under = new Map<object, Promise<void>>(); // by whose it is
  #news = false;
  #wake: (() => void) | undefined;

  /** Begins work of somebody who has none under way; `failed` hears its error. */
  begin<T>(owner: object, work: Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    const end = () => {
      this.#under.delete(owner);
      this.stir();
    };
    this.#under.set(owner, work.then(done, failed).then(end, end));
  }

  /** Whether somebody's work is under way. */
  has(owner: object): boolean {
    return this.#under.has(owner);
  }

  /** Tells the loop that there may be something to do. */
  stir(): void {
    this.#news = true;
    this.#wake?.();
  }

  /** Sleeps until somebody stirs; not at all where that was since the last time. */
  async news(): Promise<void> {
    if (!this.#news) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#news = false;
  }

  /** Waits for all that is under way. */
  async end(): Promise<void> {
    await Promise.all(this.#under.values());
  }
}
