/**
 * Which variant of a kernel was measured to be the fastest for a class of shapes on this device. Classes that were not measured go by the
 * tables in ops/choose.ts. Filled only where the device was opened with `autotune`: a measured choice may differ from run to run.
 */
export class Tuning {
  readonly #enabled: boolean;
  readonly #choices = new Map<string, string>();
  #wanted = new Map<string, () => Promise<string>>();

  constructor(enabled: boolean) {
    this.#enabled = enabled;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** What was measured to be the fastest for a class. */
  known(shapeClass: string): string | undefined {
    return this.#choices.get(shapeClass);
  }

  /** Lets the next `settle` measure a class, unless it was, or nothing is tuned here. */
  want(shapeClass: string, measure: () => Promise<string>): void {
    if (this.#enabled && !this.#choices.has(shapeClass)) this.#wanted.set(shapeClass, measure);
  }

  /** Measures what was asked for; whether there was any. */
  async settle(): Promise<boolean> {
    const wanted = this.#wanted;
    this.#wanted = new Map(); // measuring records programs, and those settle too
    for (const [shapeClass, measure] of wanted) this.#choices.set(shapeClass, await measure());
    return wanted.size > 0;
  }

  /** Every choice, by class. */
  toJSON(): Record<string, string> {
    return Object.fromEntries(this.#choices);
  }
}
