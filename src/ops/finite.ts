import type { Program } from "../gpu/program.ts";
import type { Bindable } from "../tensor/tensor.ts";
import { need, needRoom } from "./check.ts";
import type { PlainDtype } from "./quantize.ts";

/** For a word that holds one or two elements: the bits of their exponents, each exponent's lowest bit, and the bit above each exponent. */
const BITS: Readonly<Record<PlainDtype, readonly [mask: number, one: number, top: number]>> = {
  f32: [0x7f800000, 0x00800000, 0x80000000],
  bf16: [0x7f807f80, 0x00800080, 0x80008000],
  f16: [0x7c007c00, 0x04000400, 0x80008000],
};

const THREADS = 64;
const WORKGROUPS = 1024; // fill any adapter; each thread looks at many elements

/**
 * Sets flags[counter] to 1 where `bytes` bytes of weights hold an infinity or a NaN. `bytes` is a multiple of 16: storage is padded with
 * zeros to that.
 */
export function flagNonFinite(
  program: Program,
  { words, bytes, dtype, flags, counter }: { words: Bindable; bytes: number; dtype: PlainDtype; flags: Bindable; counter: number },
): void {
  const op = `finite ${dtype}`;
  need(bytes % 16 === 0 && bytes > 0, op, `${bytes} bytes are not whole vec4s`);
  needRoom(op, "the words", words, bytes);
  needRoom(op, "the flags", flags, (counter + 1) * 4);
  const vec4s = bytes / 16;
  const workgroups = Math.min(WORKGROUPS, Math.ceil(vec4s / THREADS));
  program.dispatch({
    kernel: { shader: "weights.finite", libs: [], consts: {}, bindings: "uurw" },
    params: [vec4s, workgroups * THREADS, counter, ...BITS[dtype]],
    buffers: [words, flags],
    workgroups: () => [workgroups, 1, 1],
  });
}
