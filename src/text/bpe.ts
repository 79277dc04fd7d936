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
    const heap: number[] = []; // of rank · length + place
    const rankAt = (i: number) => this.#ranks.get(`${parts[i]}\0${parts[next[i]!]}`);
    const offer = (i: number) => {
      const rank = i >= 0 && next[i]! < length ? rankAt(i) : undefined;
      if (rank !== undefined) push(heap, rank * length + i);
    };
    for (let i = 0; i < length; i++) offer(i);
    for (let best = pop(heap); best !== undefined; best = pop(heap)) {
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

/** Puts a number into a heap, which has the smallest first. */
function push(heap: number[], item: number): void {
  let at = heap.push(item) - 1;
  for (let parent = (at - 1) >> 1; at > 0 && heap[parent]! > item; parent = (at - 1) >> 1) {
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = item;
}

/** Takes the smallest out. */
function pop(heap: number[]): number | undefined {
  const [first] = heap;
  const last = heap.pop();
  if (heap.length === 0 || last === undefined) return first;
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= last) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}
