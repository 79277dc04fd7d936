import { EngineError } from "../../errors.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { engine } from "../xgrammar.gen.ts";
import { Kept } from "./kept.ts";
import { type Format, grammarOf, looseGrammarOf, PROBE } from "./schema.ts";

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
  /** Counts as one token. */
  _acceptString(text: string): boolean;
  rollBack(tokens: number): void;
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

/** How many characters a string has room for, so that the loose grammar says what may follow: those of all tokens but a few, or of most. */
const ROOMS = [64, 24, 12];
/** Fewer do, down to one, where nothing else than that string may go on: what is longer cannot come then. */
const NARROW = Array.from({ length: 23 }, (_, i) => 23 - i);

/** Of a vocabulary, for a string that has room for so many characters. */
interface Room {
  characters: number;
  /** Ids that may end the string, or have more characters: they are tried one by one. */
  doubtful: readonly number[];
  /** Of a narrow one: all ids but those that have more characters. */
  fitting: Mask | undefined;
}

/** The largest first. @param tokens in XGrammar's form */
function roomsOf(tokens: readonly string[], rows: number): { wide: Room[]; all: Room[] } {
  const sizes = tokens.map((token) => token.replace(CONTINUATIONS, "").length);
  const [ends, escapes] = ['"', "\\"].map((letter) => tokens.map((token) => token.includes(letter))) as [boolean[], boolean[]];
  const ids = (is: (id: number) => boolean) => sizes.flatMap((_, id) => (is(id) ? [id] : []));
  const wide = ROOMS.map((room) => ({ characters: room, doubtful: ids((id) => ends[id]! || sizes[id]! > room), fitting: undefined }));
  const narrow = NARROW.map((room) => {
    const fitting = new Uint32Array(Math.ceil(rows / 32)).fill(2 ** 32 - 1);
    const doubtful = ids((id) => ends[id]! || (escapes[id]! && sizes[id]! > room)); // behind a backslash more is written than there is
    for (const id of ids((id) => sizes[id]! > room && !ends[id] && !escapes[id])) fitting[id >> 5]! &= ~(1 << (id & 31));
    return { characters: room, doubtful, fitting };
  });
  return { wide, all: [...wide.filter(({ characters }) => characters > NARROW[0]!), ...narrow] };
}

/** Where an answer is in its grammar. */
export class Matcher {
  readonly #matcher: XGrammarMatcher;
  readonly #loose: XGrammarMatcher | undefined;
  readonly #rows: number;
  readonly #rooms: readonly Room[];

  /**
   * @param loose of the grammar whose strings may have any length
   * @param rooms how many characters a string must have room for, so that it says what may follow; the largest first
   */
  constructor(matcher: XGrammarMatcher, loose: XGrammarMatcher | undefined, rows: number, rooms: readonly Room[]) {
    this.#matcher = matcher;
    this.#loose = loose;
    this.#rows = rows;
    this.#rooms = rooms;
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
    return this.#matcher.acceptToken(id) && (this.#loose?.acceptToken(id) ?? true);
  }

  /**
   * The ids that may come next: a bit an id, u32 [ceil(rows / 32)]. XGrammar looks at each id anew within a string that has a length, and at
   * none where it has not. So where any characters may come, and so many, the loose grammar says what may follow; but for ids that may end
   * the string or are longer, which are tried one by one, or cannot come at all.
   */
  async mask(): Promise<Mask> {
    const room = this.#loose && this.#rooms.find(({ characters }) => this.#tries(this.#matcher._acceptString(PROBE.repeat(characters))));
    const from = room ? this.#loose! : this.#matcher;
    const mask = new Uint32Array((await from.getNextTokenBitmask()).buffer as ArrayBuffer);
    if (this.#rows % 32 > 0) mask[mask.length - 1]! &= 2 ** (this.#rows % 32) - 1; // behind the last id all bits may be set
    if (room?.fitting) for (let i = 0; i < mask.length; i++) mask[i]! &= room.fitting[i]!;
    for (const id of room?.doubtful ?? []) {
      const [word, bit] = [id >> 5, 1 << (id & 31)];
      if ((mask[word]! & bit) !== 0 && !this.#tries(this.#matcher.acceptToken(id))) mask[word]! &= ~bit;
    }
    return mask;
  }

  /** Whether it was accepted; if so, that is taken back. */
  #tries(accepted: boolean): boolean {
    if (accepted) this.#matcher.rollBack(1);
    return accepted;
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
    this.#loose?.dispose();
  }
}

let loaded: XGrammar | undefined;

/** GPT-2's alphabet: a printable character for every byte, in which XGrammar takes tokens that are not UTF-8. */
const CHARACTER_OF_BYTE: readonly string[] = (() => {
  let next = 0x100;
  const prints = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

/** The bytes of a character of UTF-8 behind its first, in that alphabet. */
const CONTINUATIONS = new RegExp(`[${CHARACTER_OF_BYTE.slice(0x80, 0xc0).join("")}]`, "g");

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

/** A format's grammars: its own, and the loose one that goes beside it. */
export interface Ebnf {
  ebnf: string;
  loose: string | undefined;
  /** How much there is to compile (work.ts). */
  work: number;
  /** Whether where a string goes on nothing else may. */
  single: boolean;
}

/** @throws EngineError bad-input, where a format cannot be enforced */
export function ebnfOf(format: Format): Ebnf {
  const { ebnf, work, single } = grammarOf(format);
  return { ebnf, loose: looseGrammarOf(format, ebnf), work, single };
}

/** The grammars that were compiled for a tokenizer. */
export class Grammars {
  readonly #info: Disposable;
  readonly #rows: number;
  readonly #compiler: Compiler;
  readonly #rooms: ReturnType<typeof roomsOf>;
  readonly #compiled = new Kept<Disposable[]>((all) => {
    for (const each of all) each.dispose();
  });

  private constructor(info: Disposable, rows: number, compiler: Compiler, rooms: ReturnType<typeof roomsOf>) {
    this.#info = info;
    this.#rows = rows;
    this.#compiler = compiler;
    this.#rooms = rooms;
  }

  /** @param stopIds what may come where a grammar may end, and nowhere else */
  static open(tokenizer: Tokenizer, rows: number, stopIds: ReadonlySet<number>): Promise<Grammars> {
    return Grammars.of(vocabularyOf(tokenizer, rows, stopIds), rows, stopIds);
  }

  static async of(vocabulary: string, rows: number, stopIds: ReadonlySet<number>): Promise<Grammars> {
    loaded ??= engine() as XGrammar;
    const tokens = vocabulary.split("\n");
    const info = await loaded.TokenizerInfo.createTokenizerInfo(tokens, "byte_level", false, rows, [...stopIds]);
    const compiler = await loaded.GrammarCompiler.createGrammarCompiler(info, false);
    return new Grammars(info, rows, compiler, roomsOf(tokens, rows));
  }

  /** The beginning of a format's grammar. @throws EngineError bad-input, where it cannot be enforced */
  async matcher(format: Format): Promise<Matcher> {
    return this.begin(ebnfOf(format));
  }

  async begin({ ebnf, loose, work, single }: Ebnf): Promise<Matcher> {
    const compiled = await this.#compiled.get(ebnf, work, () => this.#compile(loose === undefined ? [ebnf] : [ebnf, loose]));
    const [own, other] = await Promise.all(compiled.map((each) => loaded!.GrammarMatcher.createGrammarMatcher(each)));
    return new Matcher(own!, other, this.#rows, single ? this.#rooms.all : this.#rooms.wide);
  }

  #compile(ebnfs: readonly string[]): Promise<Disposable[]> {
    return Promise.all(ebnfs.map((each) => this.#compiler.compileGrammar(each)));
  }

  async dispose(): Promise<void> {
    await this.#compiled.clear();
    this.#compiler.dispose();
    this.#info.dispose();
  }
}
