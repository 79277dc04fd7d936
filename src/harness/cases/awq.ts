import { unpackAwq } from "../../ops/awq.ts";
import { unpackedAwq } from "../../reference/awq.ts";
import { AWQ_GROUP, GROUP } from "../../tensor/tensor.ts";
import { defineCase, type KernelCase, wholeOf } from "../case.ts";
import type { Random } from "../random.ts";

const TARGETS = { f32: 1, q8: 1 / 4, scales: 1 / 2 } as const; // words an element

/** Rows of a packed Linear; words of all bits, scales of all magnitudes (subnormal ones too) and either sign. */
function awqCase(to: keyof typeof TARGETS, out: number, inner: number, first = 0, rows = out, before = 0): KernelCase {
  const params = { out, inner, to, ...(first || rows < out ? { first, rows } : {}), before: before || undefined };
  return defineCase("awq", params, {
    step: { units: 1, start: 0 },
    record(program, { random, storage }) {
      const word = () => random.integer(0, 2 ** 32 - 1);
      const packed = {
        ...{ out, inner },
        words: Uint32Array.from({ length: (inner * out) / 8 }, word),
        zeros: Uint32Array.from({ length: (inner / AWQ_GROUP) * (out / 8) }, word),
        scales: Uint16Array.from({ length: (inner / AWQ_GROUP) * out }, () => random.integer(1, 0x7bff) | random.pick([0, 0x8000])),
      };
      const perRow = (to === "scales" ? inner / GROUP : inner) * TARGETS[to];
      const around = Uint32Array.from({ length: before * perRow + rows * perRow + 2 }, word);
      const target = storage("to", around);
      const held = {
        ...{ out, inner, words: storage("words", packed.words), zeros: storage("zeros", packed.zeros) },
        scales: storage("scales", new Uint32Array(packed.scales.buffer)),
      };
      unpackAwq(program, held, to, { first, rows, to: target, at: (before * perRow) / TARGETS[to] });
      const expected = () => {
        const all = around.slice();
        all.set(new Uint32Array(unpackedAwq(packed, to, first, rows).buffer), before * perRow);
        return all;
      };
      return [wholeOf("to", target, around.length, expected, "u32")];
    },
  });
}

/** Weights that AWQ packed, unpacked while they are loaded: bit by bit. */
export function awqCases(random: Random): KernelCase[] {
  return (["f32", "q8", "scales"] as const).flatMap((to) => [
    awqCase(to, 8, 128),
    awqCase(to, 24, 384),
    awqCase(to, 520, 256),
    awqCase(to, 1032, 128, 0, 1032, 3),
    awqCase(to, 64, 256, 5, 1),
    awqCase(to, 64, 640, 3, 50, 7),
    awqCase(to, 8 * random.integer(1, 40), 128 * random.integer(1, 6), random.integer(0, 3), random.integer(1, 4)),
  ]);
}
