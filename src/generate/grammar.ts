import type { Place } from "../text/grammar/client.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Allowed, Constraint } from "./constraint.ts";

/** An answer that follows a grammar, from its beginning on. */
export function grammarConstraint(place: Place, tokenizer: Tokenizer): Constraint & { dispose(): Promise<void> } {
  let last: Promise<unknown> = Promise.resolve(); // the last advance

  /** The tokens of a text that must come, as the tokenizer writes it; but for the last one, which may be longer together with what follows. */
  const idsOf = (text: string): number[] =>
    tokenizer
      .encodeParts([text])
      .filter((id) => !tokenizer.isSpecial(id)) // some put the beginning of a text before it
      .slice(0, -1);

  async function advance(id: number | undefined, force: boolean): Promise<Allowed> {
    let step = await place.advance(id === undefined ? [] : [id], force, false);
    if (id !== undefined && step.taken === 0) throw new Error(`the id ${id} was chosen against the grammar`);
    const forced = step.forced;
    while (typeof step.next === "string") {
      const ids = idsOf(step.next);
      step = await place.advance(ids, force, true);
      forced.push(...ids.slice(0, step.taken), ...step.forced);
    }
    return { forced, mask: step.next };
  }

  return {
    advance(id, force) {
      const allowed = advance(id, force);
      last = allowed.catch(() => {});
      return allowed;
    },
    /** Gives back WebAssembly's memory, when what is being found has been: its answer may be over before. */
    async dispose() {
      await last;
      place.dispose();
    },
  };
}
