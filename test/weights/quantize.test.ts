import { describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { convert, type PlainDtype } from "../../src/ops/quantize.ts";
import { bf16Bits, dequantize, halfBits, quantize } from "../../src/reference/quantize.ts";
import { BYTES_PER_ELEMENT, GROUP, type MatrixDtype, widenBf16, widenF16 } from "../../src/tensor/tensor.ts";
import { useGpu } from "../shared/gpu.ts";

/** Repeatable values that look like weights: near normal, with groups of all magnitudes, all zeros, and lone outliers. */
function values(count: number): Float32Array<ArrayBuffer> {
  let state = 12345;
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const out = new Float32Array(count);
  for (let g = 0; g < count / GROUP; g++) {
    const size = g % 7 === 3 ? 0 : 2 ** -(g % 23);
    for (let i = 0; i < GROUP; i++) {
      const normal = uniform() + uniform() + uniform() + uniform() - 2;
      out[g * GROUP + i] = size * (g % 11 === 5 && i === g % GROUP ? 20 : normal);
    }
  }
  return out;
}

const narrow = (x: Float32Array, dtype: PlainDtype): Uint8Array<ArrayBuffer> => {
  if (dtype === "f32") return new Uint8Array(Float32Array.from(x).buffer);
  return new Uint8Array(Uint16Array.from(x, dtype === "bf16" ? bf16Bits : halfBits).buffer);
};
const widen = (bytes: Uint8Array<ArrayBuffer>, dtype: PlainDtype): Float32Array =>
  dtype === "f32" ? new Float32Array(bytes.buffer) : (dtype === "bf16" ? widenBf16 : widenF16)(new Uint16Array(bytes.buffer));

const nmse = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0) / b.reduce((sum, v) => sum + v * v, 0);

describe("weights converted on the GPU", () => {
  let gpu: Gpu;
  let programs: Programs;
  useGpu((opened) => {
    gpu = opened;
    programs = new Programs(gpu);
  });

  /** Converts x in two stretches, the first of `split` elements, that begin `first` elements into a part. */
  async function run(x: Float32Array, from: PlainDtype, to: MatrixDtype, first = 0, split = x.length) {
    const total = first + x.length;
    const bytes = total * BYTES_PER_ELEMENT[to];
    const quantized = to === "q8" || to === "q4";
    const scaleBytes = (total / GROUP) * 2;
    const part = {
      rowStart: 0,
      rows: 1,
      buffer: gpu.memory.create("to", bytes),
      ...(quantized ? { scales: gpu.memory.create("scales", scaleBytes) } : {}),
    };
    const refused = gpu.memory.create("refused", 16);
    for (const [begin, end] of [
      [0, split],
      [split, x.length],
    ] as const) {
      if (begin === end) continue;
      const data = narrow(x.subarray(begin, end), from);
      const source = gpu.memory.create("source", data.length);
      gpu.memory.write(source, 0, data);
      const stretch = { source, from, to, part, first: first + begin, elements: end - begin, refused, counter: 2 };
      (await programs.record("convert", 1, (p) => convert(p, stretch))).run({ units: 1, start: 0 });
    }
    const out = new Uint8Array(await gpu.memory.read(part.buffer, 0, bytes)).subarray(first * BYTES_PER_ELEMENT[to]);
    const scales = part.scales
      ? new Uint16Array(await gpu.memory.read(part.scales, 0, scaleBytes)).subarray(first / GROUP)
      : new Uint16Array(0);
    const counts = new Uint32Array(await gpu.memory.read(refused, 0, 16));
    return { out: Uint8Array.from(out), scales: Uint16Array.from(scales), counts: [...counts] };
  }

  // 5 groups into the part and split after 8: a word of scales that two dispatches share.
  describe.each(["q8", "q4"] as const)("%s", (to) => {
    it.each(["bf16", "f16", "f32"] as const)("codes and scales of %s are the reference's", async (from) => {
      const x = widen(narrow(values(GROUP * 1031), from), from);
      const { out, scales, counts } = await run(x, from, to, GROUP * 5, GROUP * 8);
      const want = quantize(x, to);
      expect(scales).toEqual(want.scales);
      expect(new Uint32Array(out.buffer)).toEqual(want.codes);
      expect(counts).toEqual([0, 0, 0, 0]);
    });

    it("counts the groups that hold what f16 scales cannot", async () => {
      const x = values(GROUP * 8);
      x[3] = Number.POSITIVE_INFINITY;
      x[GROUP * 2] = Number.NaN;
      x[GROUP * 5 + 1] = 1e9;
      expect((await run(x, "f32", to)).counts).toEqual([0, 0, 3, 0]);
    });
  });

  it("q4's searched scales leave less error than the largest magnitude's", () => {
    const x = values(GROUP * 2000).filter((_, i) => Math.floor(i / GROUP) % 11 !== 5); // a lone outlier is all of a group's error
    const searched = nmse(dequantize(quantize(x, "q4"), "q4"), x);
    const plain = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += GROUP) {
      const scale = x.subarray(at, at + GROUP).reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 7;
      for (let i = at; i < at + GROUP; i++) plain[i] = scale && Math.round(x[i]! / scale) * scale;
    }
    const absmax = nmse(plain, x);
    console.log(`q4 NMSE: searched ${searched.toExponential(3)}, absmax / 7 ${absmax.toExponential(3)}`);
    expect(searched).toBeLessThan(0.8 * absmax);
  });

  it("f32 is exact, from bf16 and from f16", async () => {
    for (const from of ["bf16", "f16"] as const) {
      const x = widen(narrow(values(GROUP * 40), from), from);
      expect(new Float32Array((await run(x, from, "f32", 8, 100)).out.buffer)).toEqual(x);
    }
  });

  it("f16 and bf16 are rounded to nearest even, and overflow is counted", async () => {
    const special = [
      65504,
      65519,
      65520,
      -1e6,
      2 ** -24,
      2 ** -25,
      1.5 * 2 ** -25,
      2 ** -14 - 2 ** -26,
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      0,
      -0,
    ];
    const x = Float32Array.from([...special, ...values(GROUP * 40)]);
    const f16 = await run(x, "f32", "f16");
    expect(new Uint16Array(f16.out.buffer)).toEqual(Uint16Array.from(x, halfBits));
    expect(f16.counts).toEqual([0, 0, 2, 0]);
    x[0] = 3.4e38; // rounds above the largest bf16
    const bf16 = await run(x, "f32", "bf16", 4, 12);
    expect(new Uint16Array(bf16.out.buffer)).toEqual(Uint16Array.from(x, bf16Bits));
    expect(bf16.counts).toEqual([0, 0, 1, 0]);
  });
});
