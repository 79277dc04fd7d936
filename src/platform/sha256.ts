import { platform } from "#platform";
import type { Sha256 } from "./store.ts";

// FIPS 180-4. The browser's own crypto.subtle.digest wants the whole message at once, and a shard has gigabytes.

/** The first 32 bits of the fractional parts of the cube (or square) roots of the first primes: computed in exact integers. */
function rootBits(count: number, degree: 2n | 3n): Int32Array<ArrayBuffer> {
  const bits = new Int32Array(count);
  let found = 0;
  for (let candidate = 2; found < count; candidate++) {
    let prime = true;
    for (let divisor = 2; divisor * divisor <= candidate; divisor++) if (candidate % divisor === 0) prime = false;
    if (!prime) continue;
    // The integer root of prime × 2^(32 × degree) holds the root with 32 bits behind the point.
    const scaled = BigInt(candidate) << (32n * degree);
    let low = 0n;
    let high = 1n << 40n;
    while (high - low > 1n) {
      const middle = (low + high) / 2n;
      if (middle ** degree <= scaled) low = middle;
      else high = middle;
    }
    bits[found++] = Number(BigInt.asIntN(32, low));
  }
  return bits;
}

const K = rootBits(64, 3n);
const INITIAL = rootBits(8, 2n);

/** SHA-256 of a message that comes in pieces: the platform's own, where it has one. */
export const newSha256 = (): Sha256 => platform.sha256?.() ?? createSha256();

/** Takes a block of 64 bytes of a message, `bytes` from `at` on, into the state. `w`: room for the block's schedule, 64 words. */
function compress(state: Int32Array, w: Int32Array, bytes: Uint8Array, at: number): void {
  for (let t = 0, i = at; t < 16; t++, i += 4) w[t] = (bytes[i]! << 24) | (bytes[i + 1]! << 16) | (bytes[i + 2]! << 8) | bytes[i + 3]!;
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!;
    const y = w[t - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[t]! + w[t]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  for (const [i, value] of [a, b, c, d, e, f, g, h].entries()) state[i]! += value;
}

/** SHA-256 of a message that comes in pieces, here. */
export function createSha256(): Sha256 {
  const state = INITIAL.slice();
  const w = new Int32Array(64);
  const block = new Uint8Array(64);
  let filled = 0;
  let total = 0;

  function update(bytes: Uint8Array): void {
    total += bytes.length;
    let at = 0;
    if (filled > 0) {
      at = Math.min(64 - filled, bytes.length);
      block.set(bytes.subarray(0, at), filled);
      filled += at;
      if (filled < 64) return;
      compress(state, w, block, 0);
      filled = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) compress(state, w, bytes, at);
    block.set(bytes.subarray(at), 0);
    filled = bytes.length - at;
  }

  function hex(): string {
    const bits = BigInt(total) * 8n;
    const tail = new Uint8Array(filled < 56 ? 64 - filled : 128 - filled); // 0x80, zeros, the length in bits as 64 bits
    tail[0] = 0x80;
    new DataView(tail.buffer).setBigUint64(tail.length - 8, bits);
    update(tail);
    return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  return { update, hex };
}
