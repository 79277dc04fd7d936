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
 *
 * @param kept where choices are kept, with what an earlier program measured; without it nothing is tuned
 */
export async function openTuning(kept: Choices | undefined, now = () => performance.now()) {
  const choices = new Map(Object.entries((await kept?.load()) ?? {}));
  let wanted = new Map<string, () => Promise<string | undefined>>();
  let left = BUDGET;
  /** Every choice, by class. */
  const toJSON = () => Object.fromEntries(choices);
  return {
    toJSON,
    enabled: kept !== undefined,
    /** What was measured to be the fastest for a class. */
    known: (shapeClass: string): string | undefined => choices.get(shapeClass),
    /** Lets the next `settle` measure a class, unless it was, or nothing is tuned here. What `measure` cannot tell is asked no more. */
    want(shapeClass: string, measure: () => Promise<string | undefined>): void {
      if (kept && left > 0 && !choices.has(shapeClass)) wanted.set(shapeClass, measure);
    },
    /** Measures what was asked for, as far as the time goes; whether there was any. */
    async settle(): Promise<boolean> {
      const asked = wanted;
      wanted = new Map(); // measuring records programs, and those settle too
      let measured = false;
      for (const [shapeClass, measure] of asked) {
        if (left <= 0) break;
        const began = now();
        const choice = await measure();
        left = choice === undefined ? 0 : left - (now() - began);
        if (choice !== undefined) choices.set(shapeClass, choice);
        measured ||= choice !== undefined;
      }
      if (measured) await kept?.save(toJSON());
      return measured;
    },
  };
}

/** What was measured of a device's kernels. */
export type Tuning = Awaited<ReturnType<typeof openTuning>>;

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
