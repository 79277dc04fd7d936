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
  GrammarMatcher: { createGrammarMatcher(grammar: Disposable): Promise<Matcher> };
}
interface Disposable {
  dispose(): void;
}
interface Compiler extends Disposable {
  compileGrammar(ebnf: string): Promise<Disposable>;
}
/** Where an answer is in its grammar. */
export interface Matcher extends Disposable {
  /** False where the grammar does not allow it. */
  acceptToken(id: number): boolean;
  /** The ids that may come next, a bit an id. */
  getNextTokenBitmask(): Promise<Int32Array>;
  /** The text that must come next whatever is chosen; often "". */
  findJumpForwardString(): string;
  isTerminated(): boolean;
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

/** The grammars that were compiled for a tokenizer. */
export class Grammars {
  readonly #info: Disposable;
  readonly #compiler: Compiler;
  readonly #compiled = new Map<string, Promise<Disposable>>();

  private constructor(info: Disposable, compiler: Compiler) {
    this.#info = info;
    this.#compiler = compiler;
  }

  /**
   * @param rows of the model's logits: ids beyond the tokenizer's are never allowed
   * @param stopIds what may come where a grammar may end, and nowhere else
   */
  static async open(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<Grammars> {
    loaded ??= engine() as XGrammar;
    const encoder = new TextEncoder();
    const vocabulary = Array.from({ length: Math.min(rows, tokenizer.vocabSize) }, (_, id) => {
      if (tokenizer.isSpecial(id) || stopIds.has(id)) return ""; // which no grammar has
      const piece = tokenizer.piece(id);
      const bytes = typeof piece === "string" ? encoder.encode(piece) : piece;
      return Array.from(bytes, (byte) => CHARACTER_OF_BYTE[byte]).join("");
    });
    const info = await loaded.TokenizerInfo.createTokenizerInfo(vocabulary, "byte_level", false, rows, [...stopIds]);
    return new Grammars(info, await loaded.GrammarCompiler.createGrammarCompiler(info, false));
  }

  /** The beginning of a format's grammar. @throws EngineError bad-input, where it cannot be enforced */
  async matcher(format: Format): Promise<Matcher> {
    const ebnf = grammarOf(format);
    if (ebnf.length > MOST_GRAMMAR) {
      throw new EngineError("bad-input", `${format.name} is a grammar of ${ebnf.length} characters, at most ${MOST_GRAMMAR} are compiled`, {
        param: format.name,
      });
    }
    const compiling = this.#compiled.get(ebnf) ?? this.#compiler.compileGrammar(ebnf);
    this.#compiled.delete(ebnf);
    this.#compiled.set(ebnf, compiling); // the last used is the last to go
    const oldest = this.#compiled.keys().next().value!;
    if (this.#compiled.size > MOST_COMPILED) {
      void this.#compiled.get(oldest)!.then((grammar) => grammar.dispose());
      this.#compiled.delete(oldest);
    }
    return loaded!.GrammarMatcher.createGrammarMatcher(await compiling);
  }

  async dispose(): Promise<void> {
    for (const compiling of this.#compiled.values()) (await compiling).dispose();
    this.#compiled.clear();
    this.#compiler.dispose();
    this.#info.dispose();
  }
}
