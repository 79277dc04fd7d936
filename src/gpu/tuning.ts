import { platform } from "#platform";
import { version } from "./shaders.gen.ts";

/** Milliseconds that measuring may take on a device, from its opening on. */
const BUDGET = 2000;

/** Choices by class of shapes, kept where the program's downloads are: by adapter, driver and kernels. */
export interface Choices {
  load(): Promise<Record<string, string>>;
  save(choices: Record<string, string>): Promise<void>;
}

/**
 * Which variant of a kernel was measured to be the fastest for a class of shapes on this device. Classes that were not measured, as those
 * for which the time was not enough, go by the tables in ops/choose.ts. Once measured, a choice stays: a later load finds it.
 */
export class Tuning {
  readonly #kept: Choices | undefined;
  readonly #now: () => number;
  #choices = new Map<string, string>();
  #wanted = new Map<string, () => Promise<string | undefined>>();
  #left = BUDGET;

  /** @param kept where choices are kept; without it nothing is tuned */
  private constructor(kept: Choices | undefined, now: () => number) {
    this.#kept = kept;
    this.#now = now;
  }

  /** With what an earlier program measured. */
  static async open(kept: Choices | undefined, now = () => performance.now()): Promise<Tuning> {
    const tuning = new Tuning(kept, now);
    tuning.#choices = new Map(Object.entries((await kept?.load()) ?? {}));
    return tuning;
  }

  get enabled(): boolean {
    return this.#kept !== undefined;
  }

  /** What was measured to be the fastest for a class. */
  known(shapeClass: string): string | undefined {
    return this.#choices.get(shapeClass);
  }

  /** Lets the next `settle` measure a class, unless it was, or nothing is tuned here. What `measure` cannot tell is asked no more. */
  want(shapeClass: string, measure: () => Promise<string | undefined>): void {
    if (this.enabled && this.#left > 0 && !this.#choices.has(shapeClass)) this.#wanted.set(shapeClass, measure);
  }

  /** Measures what was asked for, as far as the time goes; whether there was any. */
  async settle(): Promise<boolean> {
    const wanted = this.#wanted;
    this.#wanted = new Map(); // measuring records programs, and those settle too
    let measured = false;
    for (const [shapeClass, measure] of wanted) {
      if (this.#left <= 0) break;
      const began = this.#now();
      const choice = await measure();
      this.#left = choice === undefined ? 0 : this.#left - (this.#now() - began);
      if (choice !== undefined) this.#choices.set(shapeClass, choice);
      measured ||= choice !== undefined;
    }
    if (measured) await this.#kept?.save(this.toJSON());
    return measured;
  }

  /** Every choice, by class. */
  toJSON(): Record<string, string> {
    return Object.fromEntries(this.#choices);
  }
}

const FILE = "tuning.json";

/** Choices in the store of downloads. Where it cannot be read or written, they last as long as the program. */
export function storedChoices(adapter: string): Choices {
  const key = `${adapter}, kernels ${version}`; // what was measured of other kernels says nothing
  const all = async (): Promise<Record<string, Record<string, string>>> => {
    try {
      const found: unknown = JSON.parse((await (await platform.openStore("urls")).readText(FILE)) ?? "{}");
      return typeof found === "object" && found !== null ? (found as Record<string, Record<string, string>>) : {};
    } catch {
      return {};
    }
  };
  return {
    load: async () => (await all())[key] ?? {},
    save: async (choices) => {
      const text = JSON.stringify({ ...(await all()), [key]: choices });
      const store = await platform.openStore("urls");
      await store.writeText(FILE, text).catch(() => {});
    },
  };
}
