/** `model` of a tokenizer.json, as check-json.ts lets it pass. */
interface BpeJson {
  vocab: Readonly<Record<string, number>>;
  merges: readonly (string | readonly [string, string])[];
  unk_token?: string | null;
  fuse_unk?: boolean;
  byte_fallback?: boolean;
  ignore_merges?: boolean;
}

const CACHED = 10_000; // words
const LONG = 256; // characters of a word that is not kept

/** A vocabulary, and byte-pair merging: of all neighbours that make a token the pair of the first merge is joined, the leftmost first. */
export class Bpe {
  readonly ids: Map<string, number>;
  readonly tokens: string[] = [];
  readonly #json: BpeJson;
  readonly #ranks = new Map<string, number>();
  readonly #cache = new Map<string, string[]>();

  constructor(json: BpeJson) {
    this.#json = json;
    this.ids = new Map(Object.entries(json.vocab));
    for (const [token, id] of this.ids) this.tokens[id] = token;
    json.merges.forEach((merge, rank) => {
      const [left, right] = typeof merge === "string" ? merge.split(" ", 2) : merge;
      this.#ranks.set(`${left}\0${right}`, rank);
    });
  }

  /** The id of what the vocabulary does not have. */
  get unknown(): number | undefined {
    return this.ids.get(this.#json.unk_token ?? "");
  }

  /** The tokens of some words. What has none becomes its bytes' tokens, else the unknown one, else nothing. */
  encode(words: readonly string[]): string[] {
    const { unk_token: unknown, fuse_unk: fuses, byte_fallback: inBytes, ignore_merges: wholeFirst } = this.#json;
    const out: string[] = [];
    const isUnknown = (token: string | undefined) => token !== undefined && this.ids.get(token) === this.unknown;
    for (const word of words) {
      for (const token of wholeFirst && this.ids.has(word) ? [word] : this.#merged(word)) {
        const bytes = inBytes && !this.ids.has(token) ? Array.from(new TextEncoder().encode(token), byteToken) : [token];
        if (bytes.every((each) => this.ids.has(each))) out.push(...bytes);
        else if (unknown != null && !(fuses && isUnknown(out.at(-1)))) out.push(unknown);
      }
    }
    return out;
  }

  #merged(word: string): string[] {
    const known = this.#cache.get(word);
    if (known) return known;
    const made = this.#merge(Array.from(word));
    if (word.length < LONG) {
      if (this.#cache.size >= CACHED) this.#cache.clear();
      this.#cache.set(word, made);
    }
    return made;
  }

  /** Takes the best pair of all from a heap, so that a long word costs little more than its length. */
  #merge(parts: (string | undefined)[]): string[] {
    const { length } = parts;
    const next = parts.map((_, i) => i + 1);
    const before = parts.map((_, i) => i - 1);
    const heap = new Heap(); // of rank · length + place
    const rankAt = (i: number) => this.#ranks.get(`${parts[i]}\0${parts[next[i]!]}`);
    const offer = (i: number) => {
      const rank = i >= 0 && next[i]! < length ? rankAt(i) : undefined;
      if (rank !== undefined) heap.push(rank * length + i);
    };
    for (let i = 0; i < length; i++) offer(i);
    for (let best = heap.pop(); best !== undefined; best = heap.pop()) {
      const i = best % length;
      if (parts[i] === undefined || next[i]! >= length || rankAt(i) !== (best - i) / length) continue; // joined to something since
      const right = next[i]!;
      parts[i] += parts[right]!;
      parts[right] = undefined;
      next[i] = next[right]!;
      if (next[i]! < length) before[next[i]!] = i;
      offer(before[i]!);
      offer(i);
    }
    return parts.filter((part) => part !== undefined);
  }
}

const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

/** The smallest number first. */
class Heap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && items[parent]! > item; parent = (at - 1) >> 1) {
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const items = this.#items;
    const [first] = items;
    const last = items.pop();
    if (items.length === 0 || last === undefined) return first;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return first;
  }
}
