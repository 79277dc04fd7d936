import { type OpenGrammars, openGrammars, type Place } from "../text/grammar/client.ts";
import type { Format } from "../text/grammar/schema.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Allowed, Constraint } from "./constraint.ts";

/** The formats of one model's answers. */
export class Formats {
  readonly #tokenizer: Tokenizer;
  readonly #grammars: OpenGrammars;

  private constructor(tokenizer: Tokenizer, grammars: OpenGrammars) {
    this.#tokenizer = tokenizer;
    this.#grammars = grammars;
  }

  /** @param rows of the model's logits */
  static async open(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<Formats> {
    return new Formats(tokenizer, await openGrammars(tokenizer, rows, stopIds));
  }

  /** The constraint of one answer. @throws EngineError bad-input, where the format cannot be enforced */
  async constraint(format: Format): Promise<GrammarConstraint> {
    return new GrammarConstraint(await this.#grammars.matcher(format), this.#tokenizer);
  }

  dispose(): Promise<void> {
    return this.#grammars.dispose();
  }
}

/** An answer that follows a grammar. */
class GrammarConstraint implements Constraint {
  readonly #place: Place;
  readonly #tokenizer: Tokenizer;
  #last: Promise<unknown> = Promise.resolve(); // the last advance

  constructor(place: Place, tokenizer: Tokenizer) {
    this.#place = place;
    this.#tokenizer = tokenizer;
  }

  advance(id: number | undefined, force: boolean): Promise<Allowed> {
    const allowed = this.#advance(id, force);
    this.#last = allowed.catch(() => {});
    return allowed;
  }

  async #advance(id: number | undefined, force: boolean): Promise<Allowed> {
    let step = await this.#place.advance(id === undefined ? [] : [id], force, false);
    if (id !== undefined && step.taken === 0) throw new Error(`the id ${id} was chosen against the grammar`);
    const forced = step.forced;
    while (typeof step.next === "string") {
      const ids = this.#idsOf(step.next);
      step = await this.#place.advance(ids, force, true);
      forced.push(...ids.slice(0, step.taken), ...step.forced);
    }
    return { forced, mask: step.next };
  }

  /** The tokens of a text that must come, as the tokenizer writes it; but for the last one, which may be longer together with what follows. */
  #idsOf(text: string): number[] {
    const ids = this.#tokenizer.encodeParts([text]).filter((id) => !this.#tokenizer.isSpecial(id)); // some put the beginning of a text before it
    return ids.slice(0, -1);
  }

  /** Gives back WebAssembly's memory, when what is being found has been: its answer may be over before. */
  async dispose(): Promise<void> {
    await this.#last;
    this.#place.dispose();
  }
}
