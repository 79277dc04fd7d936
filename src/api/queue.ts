/** Runs tasks one after the other, in the order they came: a model has one KV cache. */
export class Queue {
  #tail: Promise<void> = Promise.resolve();

  /** Waits for everything before, then gives the turn; call the result when done. */
  async enter(): Promise<() => void> {
    const before = this.#tail;
    let leave!: () => void;
    this.#tail = new Promise((resolve) => {
      leave = resolve;
    });
    await before;
    return leave;
  }
}
