import { EngineError } from "../../errors.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { engine } from "../xgrammar.gen.ts";
import { type Format, grammarOf } from "./schema.ts";

/** What is used of XGrammar (xgrammar.gen.ts). Its objects live in WebAssembly's memory until they are disposed of. */
interface XGrammar {
  TokenizerInfo: {
    createTokenizerInfo(vocabulary: string[], kind: "byte_level", space: false, size: number, stopIds: number[]): Promise<Disposable>;
  };
  GrammarCompiler: { createGrammarCompiler(info: Disposable, cache: boolean): Promise<Compiler> };
  GrammarMatcher: { createGrammarMatcher(grammar: Disposable): Promise<XGrammarMatcher> };
}
interface Disposable {
  dispose(): void;
}
interface Compiler extends Disposable {
  compileGrammar(ebnf: string): Promise<Disposable>;
}
interface XGrammarMatcher extends Disposable {
  acceptToken(id: number): boolean;
  getNextTokenBitmask(): Promise<Int32Array>;
  findJumpForwardString(): string;
  isTerminated(): boolean;
}

type Mask = Uint32Array<ArrayBuffer>;

/** What comes of taking ids. */
export interface Step {
  /** How many of them the grammar allows, from the first on. */
  taken: number;
  /** Ids behind them of which each was the only one. */
  forced: number[];
  /** The text that must come next, for which somebody knows ids; or else the ids that may: a bit an id, u32 [ceil(rows / 32)]. */
  next: string | Mask;
}

/** The only id that a mask has; undefined where it has several. @throws EngineError where it has none */
function onlyOf(mask: Mask): number | undefined {
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

/** Where an answer is in its grammar. */
export class Matcher {
  readonly #matcher: XGrammarMatcher;
  readonly #rows: number;

  constructor(matcher: XGrammarMatcher, rows: number) {
    this.#matcher = matcher;
    this.#rows = rows;
  }

  /**
   * Takes ids as far as the grammar allows them, and says what may follow.
   *
   * @param force whether to take ids that must come, too; it stops at text that must, unless that is what the first ids are of (`jumped`)
   */
  async advance(ids: readonly number[], force: boolean, jumped: boolean): Promise<Step> {
    const refused = ids.findIndex((id) => !this.accept(id));
    const step: Step = { taken: refused < 0 ? ids.length : refused, forced: [], next: new Uint32Array(0) }; // behind the end nothing is chosen
    for (let looks = force && !jumped; !this.ended; looks = true) {
      step.next = looks ? this.forced : "";
      if (step.next !== "") break;
      step.next = await this.mask();
      const only = onlyOf(step.next);
      if (!force || only === undefined) break;
      this.accept(only);
      step.forced.push(only);
      step.next = new Uint32Array(0);
    }
    return step;
  }

  /** Takes an id; false where the grammar does not allow it. */
  accept(id: number): boolean {
    return this.#matcher.acceptToken(id);
  }

  /** The ids that may come next: a bit an id, u32 [ceil(rows / 32)]. */
  async mask(): Promise<Mask> {
    const mask = new Uint32Array((await this.#matcher.getNextTokenBitmask()).buffer as ArrayBuffer);
    if (this.#rows % 32 > 0) mask[mask.length - 1]! &= 2 ** (this.#rows % 32) - 1; // behind the last id all bits may be set
    return mask;
  }

  /** The text that must come next whatever is chosen; often "". */
  get forced(): string {
    return this.#matcher.findJumpForwardString();
  }

  /** Whether it has taken a stop id. */
  get ended(): boolean {
    return this.#matcher.isTerminated();
  }

  /** Gives back WebAssembly's memory. */
  dispose(): void {
    this.#matcher.dispose();
  }
}

const MOST_COMPILED = 32;
/** Characters of a grammar: what is longer would be compiled for minutes. */
const MOST_GRAMMAR = 400_000;

let loaded: XGrammar | undefined;

/** GPT-2's alphabet: a printable character for every byte, in which XGrammar takes tokens that are not UTF-8. */
const CHARACTER_OF_BYTE: readonly string[] = (() => {
  let next = 0x100;
  const prints = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

/**
 * What XGrammar is told of a tokenizer: its tokens, a line each.
 *
 * @param rows of the model's logits: ids beyond the tokenizer's are never allowed
 */
export function vocabularyOf(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): string {
  const encoder = new TextEncoder();
  return Array.from({ length: Math.min(rows, tokenizer.vocabSize) }, (_, id) => {
    if (tokenizer.isSpecial(id) || stopIds.has(id)) return ""; // which no grammar has
    const piece = tokenizer.piece(id);
    const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
    return Array.from(bytes, (byte) => CHARACTER_OF_BYTE[byte]).join("");
  }).join("\n");
}

/** A format's grammar. @throws EngineError bad-input, where it cannot be enforced */
export function ebnfOf(format: Format): string {
  const ebnf = grammarOf(format);
  if (ebnf.length <= MOST_GRAMMAR) return ebnf;
  throw new EngineError("bad-input", `${format.name} is a grammar of ${ebnf.length} characters, at most ${MOST_GRAMMAR} are compiled`, {
    param: format.name,
  });
}

/** The grammars that were compiled for a tokenizer. */
export class Grammars {
  readonly #info: Disposable;
  readonly #rows: number;
  readonly #compiler: Compiler;
  readonly #compiled = new Map<string, Promise<Disposable>>();

  private constructor(info: Disposable, rows: number, compiler: Compiler) {
    this.#info = info;
    this.#rows = rows;
    this.#compiler = compiler;
  }

  /** @param stopIds what may come where a grammar may end, and nowhere else */
  static open(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<Grammars> {
    return Grammars.of(vocabularyOf(tokenizer, rows, stopIds), rows, stopIds);
  }

  static async of(vocabulary: string, rows: number, stopIds: ReadonlySet<number>): Promise<Grammars> {
    loaded ??= engine() as XGrammar;
    const info = await loaded.TokenizerInfo.createTokenizerInfo(vocabulary.split("\n"), "byte_level", false, rows, [...stopIds]);
    return new Grammars(info, rows, await loaded.GrammarCompiler.createGrammarCompiler(info, false));
  }

  /** The beginning of a format's grammar. @throws EngineError bad-input, where it cannot be enforced */
  async matcher(format: Format): Promise<Matcher> {
    return this.begin(ebnfOf(format));
  }

  async begin(ebnf: string): Promise<Matcher> {
    const compiling = this.#compiled.get(ebnf) ?? this.#compiler.compileGrammar(ebnf);
    this.#compiled.delete(ebnf);
    this.#compiled.set(ebnf, compiling); // the last used is the last to go
    const oldest = this.#compiled.keys().next().value!;
    if (this.#compiled.size > MOST_COMPILED) {
      void this.#compiled.get(oldest)!.then((grammar) => grammar.dispose());
      this.#compiled.delete(oldest);
    }
    return new Matcher(await loaded!.GrammarMatcher.createGrammarMatcher(await compiling), this.#rows);
  }

  async dispose(): Promise<void> {
    for (const compiling of this.#compiled.values()) (await compiling).dispose();
    this.#compiled.clear();
    this.#compiler.dispose();
    this.#info.dispose();
  }
}
