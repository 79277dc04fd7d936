import { Bpe } from "./bpe.ts";
import { GPT2_WORDS } from "./patterns.ts";
import { CHARACTERS } from "./pieces.ts";
import type { AddedToken } from "./special-tokens.ts";

// What a tokenizer.json describes, of the parts that check-json.ts lets pass. Why no library: @huggingface/tokenizers brings along every kind
// of part that there is, which is 12 kB of a page's bundle (gzip); the tests hold this one against it.

type Json = Record<string, unknown>;
type Words = (words: string[], section: number) => string[];

/** What a text becomes before words are looked for in it. */
function normalizerOf(part: Json | null): ((text: string) => string) | undefined {
  switch (part?.type) {
    case undefined:
      return undefined;
    case "Sequence": {
      const all = (part.normalizers as Json[]).map(normalizerOf);
      return (text) => all.reduce((so, each) => each?.(so) ?? so, text);
    }
    case "NFC":
      return (text) => text.normalize("NFC");
    case "Prepend":
      return (text) => (part.prepend as string) + text;
    case "Replace": {
      const [pattern, by] = [patternOf(part.pattern as Json), (part.content as string | undefined) ?? ""];
      return (text) => text.replaceAll(pattern, by);
    }
    default:
      throw new Error(`unknown normalizer ${part?.type}`);
  }
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Oniguruma's white space is Unicode's, and letters of any case are spelled out: not every browser knows `(?i:)`. */
function patternOf({ Regex: regex, String: text }: Json): RegExp {
  if (regex === undefined) return new RegExp(escaped(text as string), "gu");
  const source = (regex as string)
    .replace(/\(\?i:(.*?)\)/g, (_, inner: string) => `(?:${inner.replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`)})`)
    .replace(/\\([sS])/g, (_, kind) => `\\${kind === "s" ? "p" : "P"}{White_Space}`);
  return new RegExp(source, "gu");
}

/** What a text is cut into before its bytes are merged. */
function splitterOf(part: Json | null): Words {
  switch (part?.type) {
    case undefined:
      return (words) => words;
    case "Sequence": {
      const all = (part.pretokenizers as Json[]).map(splitterOf);
      return (words, section) => all.reduce((so, each) => each(so, section), words);
    }
    case "Split": {
      const pattern = patternOf(part.pattern as Json);
      if (part.invert) return (words) => words.flatMap((word) => word.match(pattern) ?? []).filter(Boolean);
      const removed = /^removed$/i.test(String(part.behavior));
      return (words) => words.flatMap((word) => (removed ? word.split(pattern) : between(word, pattern))).filter(Boolean);
    }
    case "ByteLevel": {
      const pattern = patternOf({ Regex: GPT2_WORDS });
      const own = (word: string) => ((part.use_regex ?? true) ? (word.match(pattern) ?? []) : [word]);
      const led = (word: string) => (part.add_prefix_space && !word.startsWith(" ") ? ` ${word}` : word);
      return (words) => words.flatMap((word) => own(led(word))).map(inBytes);
    }
    case "Metaspace": {
      const { replacement = "▁", prepend_scheme: scheme = "always" } = part as { replacement?: string; prepend_scheme?: string };
      const space = (part.str_rep as string | undefined) || replacement;
      return (words, section) =>
        words.map((word) => {
          const text = word.replaceAll(" ", space);
          return !text.startsWith(replacement) && (scheme === "always" || (scheme === "first" && section === 0)) ? space + text : text;
        });
    }
    default:
      throw new Error(`unknown pre_tokenizer ${part?.type}`);
  }
}

const BYTES = new TextEncoder();
const inBytes = (word: string): string => Array.from(BYTES.encode(word), (byte) => CHARACTERS[byte]).join("");

/** What matches, and what stands between. */
function between(word: string, pattern: RegExp): string[] {
  const parts: string[] = [];
  let end = 0;
  for (const { 0: match, index } of word.matchAll(pattern)) {
    parts.push(word.slice(end, index), match);
    end = index + match.length;
  }
  return [...parts, word.slice(end)];
}

/** What stands around a text's tokens: InternLM2's and Llama's BOS. */
function frameOf(part: Json | null): (tokens: string[]) => string[] {
  if (part?.type === "Sequence") {
    const all = (part.processors as Json[]).map(frameOf);
    return (tokens) => all.reduce((so, each) => each(so), tokens);
  }
  if (part?.type !== "TemplateProcessing") return (tokens) => tokens;
  const single = part.single as { SpecialToken?: { id: string }; Sequence?: { id: string } }[];
  return (tokens) => single.flatMap(({ SpecialToken: special, Sequence: own }) => (special ? [special.id] : own?.id === "A" ? tokens : []));
}

/** Cuts a text at these tokens, the longest that begins at a place. */
function cutterOf(contents: readonly string[]): (text: string) => string[] {
  if (contents.length === 0) return (text) => [text];
  const longest = [...contents].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${longest.map(escaped).join("|")})`);
  return (text) => text.split(pattern).filter(Boolean);
}

/** Text to ids. @param known the vocabulary of another encoder, which is then left as it is. @throws what a broken file makes it throw */
export function encoderOf(json: Json, known?: Bpe) {
  const part = (name: string) => {
    if (!(name in json)) throw new Error(`it has no ${name}`);
    return json[name] as Json | null;
  };
  const normalize = normalizerOf(part("normalizer"));
  const split = splitterOf(part("pre_tokenizer"));
  const frame = frameOf(part("post_processor"));
  const model = known ?? new Bpe(part("model") as never);
  const added = new Map<string, AddedToken>();
  const plain: string[] = [];
  const normalized: string[] = [];
  for (const token of json.added_tokens as AddedToken[]) {
    const { content, id } = token;
    if (!known) {
      model.ids.set(content, id);
      model.tokens[id] = content;
    }
    added.set(content, token);
    if (!(token.normalized ?? !token.special) || !normalize) plain.push(content);
    else {
      normalized.push(normalize(content));
      added.set(normalized.at(-1)!, token);
    }
  }
  const [cut, cutNormalized] = [cutterOf(plain), cutterOf(normalized)];
  /** Some tokens take the white space beside them: Unicode's, as Rust's regular expressions have it. JavaScript's trim keeps U+0085 and takes U+FEFF. */
  const sections = (parts: string[]): string[] => {
    parts.forEach((part, i) => {
      const { lstrip, rstrip } = added.get(part) ?? {};
      if (lstrip && i > 0) parts[i - 1] = parts[i - 1]!.replace(/(?<!\p{White_Space})\p{White_Space}+$/u, "");
      if (rstrip && i < parts.length - 1) parts[i + 1] = parts[i + 1]!.replace(/^\p{White_Space}+/u, "");
    });
    return parts;
  };
  return {
    model,
    encode(text: string): number[] {
      const tokens = sections(cut(text)).flatMap((part, section) => {
        if (added.has(part) || part === "") return part === "" ? [] : [part];
        const words = sections(cutNormalized(normalize?.(part) ?? part));
        return words.flatMap((word) => (word === "" ? [] : added.has(word) ? [word] : model.encode(split([word], section))));
      });
      return frame(tokens).map((token) => (added.get(token)?.id ?? model.ids.get(token) ?? model.unknown)!);
    },
    idOf: (token: string): number | undefined => model.ids.get(token),
    tokenOf: (id: number): string | undefined => model.tokens[id],
  };
}

export type Encoder = ReturnType<typeof encoderOf>;
