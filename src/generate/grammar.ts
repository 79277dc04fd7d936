import { EngineError } from "../errors.ts";
import { Grammars, type Matcher } from "../text/grammar/engine.ts";
import type { Format } from "../text/grammar/schema.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Allowed, Constraint } from "./constraint.ts";

/** The formats of one model's answers. */
export class Formats {
  readonly #tokenizer: Tokenizer;
  readonly #grammars: Grammars;

  private constructor(tokenizer: Tokenizer, grammars: Grammars) {
    this.#tokenizer = tokenizer;
    this.#grammars = grammars;
  }

  /** @param rows of the model's logits */
  static async open(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<Formats> {
    return new Formats(tokenizer, await Grammars.open(tokenizer, rows, stopIds));
  }

  /** The constraint of one answer. @throws EngineError bad-input, where the format cannot be enforced */
  async constraint(format: Format): Promise<GrammarConstraint> {
    return new GrammarConstraint(await this.#grammars.matcher(format), this.#tokenizer);
  }

  dispose(): Promise<void> {
    return this.#grammars.dispose();
  }
}

/** The only id that a mask has; undefined where it has several. @throws EngineError where it has none */
function onlyOf(mask: Uint32Array): number | undefined {
  let only: number | undefined;
  for (let i = 0; i < mask.length; i++) {
    const word = mask[i]!;
    if (word === 0) continue;
    if (only !== undefined || (word & (word - 1)) !== 0) return undefined;
    only = 32 * i + 31 - Math.clz32(word);
  }
  if (only === undefined) throw new EngineError("bad-weights", "no token of this tokenizer can go on with what the schema asks for");
  return only;
}

/** An answer that follows a grammar. */
class GrammarConstraint implements Constraint {
  readonly #matcher: Matcher;
  readonly #tokenizer: Tokenizer;
  #last: Promise<unknown> = Promise.resolve(); // the last advance

  constructor(matcher: Matcher, tokenizer: Tokenizer) {
    this.#matcher = matcher;
    this.#tokenizer = tokenizer;
  }

  advance(id: number | undefined, force: boolean): Promise<Allowed> {
    const allowed = this.#advance(id, force);
    this.#last = allowed.catch(() => {});
    return allowed;
  }

  async #advance(id: number | undefined, force: boolean): Promise<Allowed> {
    const matcher = this.#matcher;
    if (id !== undefined && !matcher.accept(id)) throw new Error(`the id ${id} was chosen against the grammar`);
    const forced: number[] = [];
    let mask = new Uint32Array(0); // behind the end nothing is chosen
    while (!matcher.ended) {
      if (force) forced.push(...this.#jump());
      mask = await matcher.mask();
      const only = onlyOf(mask);
      if (!force || only === undefined) break;
      matcher.accept(only);
      forced.push(only);
    }
    return { forced, mask };
  }

  /**
   * The tokens of the text that must come, as the tokenizer writes it, so far as the grammar has them; but for the last one, which may be
   * longer together with what follows.
   */
  #jump(): number[] {
    const text = this.#matcher.forced;
    const taken: number[] = [];
    if (text === "") return taken;
    const ids = this.#tokenizer.encodeParts([text]).filter((id) => !this.#tokenizer.isSpecial(id)); // some put the beginning of a text before it
    for (const id of ids.slice(0, -1)) {
      if (!this.#matcher.accept(id)) break;
      taken.push(id);
    }
    return taken;
  }

  /** Gives back WebAssembly's memory, when what is being found has been: its answer may be over before. */
  async dispose(): Promise<void> {
    await this.#last;
    this.#matcher.dispose();
  }
}
