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
  if (only === undefined)
    throw new EngineError("bad-weights", "no token of this tokenizer can go on with what the schema asks for", {
      hint: "let the schema or the expression have other characters there",
    });
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

/**
 * Where an answer is in its grammar.
 *
 * @param loose of the grammar whose strings may have any length
 * @param rooms how many characters a string must have room for, so that it says what may follow; the largest first
 */
function matcherOf(own: XGrammarMatcher, loose: XGrammarMatcher | undefined, rows: number, rooms: readonly Room[]) {
  /** Whether it was accepted; if so, that is taken back. */
  const tries = (accepted: boolean): boolean => {
    if (accepted) own.rollBack(1);
    return accepted;
  };
  const matcher = {
    /**
     * Takes ids as far as the grammar allows them, and says what may follow.
     *
     * @param force whether to take ids that must come, too; it stops at text that must, unless that is what the first ids are of (`jumped`)
     */
    async advance(ids: readonly number[], force: boolean, jumped: boolean): Promise<Step> {
      const refused = ids.findIndex((id) => !matcher.accept(id));
      const step: Step = { taken: refused < 0 ? ids.length : refused, forced: [], next: new Uint32Array(0) }; // behind the end nothing is chosen
      for (let looks = force && !jumped; !matcher.ended; looks = true) {
        step.next = looks ? matcher.forced : "";
        if (step.next !== "") break;
        step.next = await matcher.mask();
        const only = onlyOf(step.next);
        if (!force || only === undefined) break;
        matcher.accept(only);
        step.forced.push(only);
        step.next = new Uint32Array(0);
      }
      return step;
    },
    /** Takes an id; false where the grammar does not allow it. */
    accept: (id: number): boolean => own.acceptToken(id) && (loose?.acceptToken(id) ?? true),
    /**
     * The ids that may come next: a bit an id, u32 [ceil(rows / 32)]. XGrammar looks at each id anew within a string that has a length, and at
     * none where it has not. So where any characters may come, and so many, the loose grammar says what may follow; but for ids that may end
     * the string or are longer, which are tried one by one, or cannot come at all.
     */
    async mask(): Promise<Mask> {
      const room = loose && rooms.find(({ characters }) => tries(own._acceptString(PROBE.repeat(characters))));
      const mask = new Uint32Array((await (room ? loose! : own).getNextTokenBitmask()).buffer as ArrayBuffer);
      if (rows % 32 > 0) mask[mask.length - 1]! &= 2 ** (rows % 32) - 1; // behind the last id all bits may be set
      if (room?.fitting) for (let i = 0; i < mask.length; i++) mask[i]! &= room.fitting[i]!;
      for (const id of room?.doubtful ?? []) {
        const [word, bit] = [id >> 5, 1 << (id & 31)];
        if ((mask[word]! & bit) !== 0 && !tries(own.acceptToken(id))) mask[word]! &= ~bit;
      }
      return mask;
    },
    /** The text that must come next whatever is chosen; often "". */
    get forced(): string {
      return own.findJumpForwardString();
    },
    /** Whether it has taken a stop id. */
    get ended(): boolean {
      return own.isTerminated();
    },
    /** Gives back WebAssembly's memory. */
    dispose(): void {
      own.dispose();
      loose?.dispose();
    },
  };
  return matcher;
}

/** How far an answer is in its grammar. */
export type Matcher = ReturnType<typeof matcherOf>;

let loaded: XGrammar | undefined;

/**
 * GPT-2's alphabet: a printable character for every byte, in which XGrammar takes tokens that are not UTF-8. (pieces.ts has it the other way
 * round, and shared it would be a chunk of its own.)
 */
const CHARACTERS: readonly string[] = (() => {
  let next = 0x100;
  const prints = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

/** The bytes of a character of UTF-8 behind its first, in that alphabet. */
const CONTINUATIONS = new RegExp(`[${CHARACTERS.slice(0x80, 0xc0).join("")}]`, "g");

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
    return Array.from(bytes, (byte) => CHARACTERS[byte]).join("");
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

/**
 * The grammars of a tokenizer.
 *
 * @param vocabulary as `vocabularyOf` has it
 * @param stopIds what may come where a grammar may end, and nowhere else
 */
export async function grammarsOf(vocabulary: string, rows: number, stopIds: ReadonlySet<number>) {
  loaded ??= engine() as XGrammar;
  const { TokenizerInfo, GrammarCompiler, GrammarMatcher } = loaded;
  const tokens = vocabulary.split("\n");
  const rooms = roomsOf(tokens, rows);
  const info = await TokenizerInfo.createTokenizerInfo(tokens, "byte_level", false, rows, [...stopIds]);
  const compiler = await GrammarCompiler.createGrammarCompiler(info, false);
  const compiled = new Kept<Disposable[]>((all) => {
    for (const each of all) each.dispose();
  });

  function begin({ ebnf, loose, work, single }: Ebnf): Promise<Matcher> {
    const ebnfs = loose === undefined ? [ebnf] : [ebnf, loose];
    const compile = () => Promise.all(ebnfs.map((each) => compiler.compileGrammar(each)));
    return compiled.take(ebnf, work, compile, async (grammars) => {
      const [own, other] = await Promise.all(grammars.map((each) => GrammarMatcher.createGrammarMatcher(each)));
      return matcherOf(own!, other, rows, single ? rooms.all : rooms.wide);
    });
  }

  return {
    begin,
    /** The beginning of a format's grammar. @throws EngineError bad-input, where it cannot be enforced */
    matcher: async (format: Format): Promise<Matcher> => begin(ebnfOf(format)),
    async dispose(): Promise<void> {
      await compiled.clear();
      compiler.dispose();
      info.dispose();
    },
  };
}

/** The grammars of a tokenizer, compiled as they are asked for. */
export type Grammars = Awaited<ReturnType<typeof grammarsOf>>;
