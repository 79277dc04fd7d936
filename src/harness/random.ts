/** Random numbers that follow from a seed (mulberry32), so that a case which failed can be run again. */
export class Random {
  #state: number;

  constructor(seed: string) {
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(seed)) hash = Math.imul(hash ^ byte, 0x01000193);
    this.#state = hash;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from low to high, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length - 1)]!;
  }

  /** f32 values uniform in [-1, 1). */
  values(count: number): Float32Array<ArrayBuffer> {
    if (count <= CHUNK) return Float32Array.from({ length: count }, () => this.next() * 2 - 1);
    const out = new Float32Array(count);
    for (const { at, from, length } of this.chunks(count)) out.set(pool.subarray(from, from + length), at);
    return out;
  }

  /** Like `values`, with a few columns 1000 times larger, as the activations of real decoders have them. */
  withOutliers(count: number, width: number): Float32Array<ArrayBuffer> {
    const out = this.values(count);
    const columns = new Set<number>(); // a column drawn twice would be 10^6 times larger, more than f16 holds
    while (columns.size < Math.max(1, Math.floor(width / 200))) columns.add(this.integer(0, width - 1));
    for (const column of columns) for (let i = column; i < count; i += width) out[i]! *= 1000;
    return out;
  }

  /** Like `values`, with up to ±30,000 in one column of 1,000 (at least one), as inputs of down projections have them. */
  withHuge(count: number, width: number): Float32Array<ArrayBuffer> {
    const out = this.values(count);
    const columns = Array.from({ length: Math.max(1, Math.floor(width / 1000)) }, () => this.integer(0, width - 1));
    for (const column of columns) for (let i = column; i < count; i += width) out[i] = this.pick([-HUGE, HUGE]) * (1 - this.next() / 16);
    return out;
  }

  /** Where the stretches of CHUNK elements of something large come from in a pool: memory is copied faster than it is drawn. */
  *chunks(count: number): Generator<{ at: number; from: number; length: number }> {
    for (let at = 0; at < count; at += CHUNK) {
      yield { at, from: 64 * this.integer(0, POOL / 64 - 1), length: Math.min(CHUNK, count - at) };
    }
  }
}

/** What the largest activations of real decoders come to. */
export const HUGE = 30_000;

const CHUNK = 4096; // elements; a multiple of 64, so that stretches of packed formats begin at whole words, their scales' included
const POOL = 65536; // places where a stretch may begin

/** Elements of a pool. */
export const POOL_ELEMENTS = POOL + CHUNK;

const pool = ((random: Random) => Float32Array.from({ length: POOL_ELEMENTS }, () => random.next() * 2 - 1))(new Random("pool"));
