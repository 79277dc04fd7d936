import { describe, expect, inject, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { Programs } from "../../src/gpu/program.ts";
import { type ModelConfig, parseConfig, type VisionConfig } from "../../src/model/config.ts";
import { type DecoderNames, declareDecoderLayer, recordDecoderLayer } from "../../src/model/decoder.ts";
import { internLm2 } from "../../src/model/internlm2.ts";
import { qwen2 } from "../../src/model/qwen2.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { declareVisionLayer, recordVisionLayer } from "../../src/model/vision.ts";
import { VISION_NAMES } from "../../src/model/vision-names.ts";
import { createCaches } from "../../src/ops/kv-cache.ts";
import { inverseFrequencies, ropeTable } from "../../src/ops/rope.ts";
import { attention } from "../../src/reference/attention.ts";
import { gelu } from "../../src/reference/gelu.ts";
import { norm } from "../../src/reference/norm.ts";
import { rope } from "../../src/reference/rope.ts";
import { swiglu } from "../../src/reference/swiglu.ts";
import type { Activation } from "../../src/tensor/tensor.ts";
import { widenBf16 } from "../../src/tensor/tensor.ts";
import { GpuWeights } from "../../src/weights/gpu-weights.ts";
import { syntheticTensors } from "../../tools/synthetic/source.ts";
import { synthesize } from "../../tools/synthetic/tensors.ts";
import { useGpu } from "../shared/gpu.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { fixture, relativeL2, syntheticF32 } from "../support.ts";

/** One layer at the shapes of the large models, weights by the synthetic rule, against a float64 twin that makes them once more, row by row. */
const BOUND = 1e-5; // f32 compute: golden/README.md

type Row = Float64Array;
const f32 = (row: ArrayLike<number>) => Float32Array.from(row);
const vector = (name: string, length: number) => syntheticF32(name, [length]);

/** Rows [first, first + out) of W [all, inner] times some x; four rows at once, for there are 21 billion products in a tile's keys and values. */
function product(name: string, all: number, xs: readonly Float64Array[], first = 0, out = all): Row[] {
  const inner = xs[0]!.length;
  const ys = xs.map(() => new Float64Array(out));
  const each = 4 * Math.max(1, Math.floor(2 ** 18 / inner));
  for (let row = 0; row < out; row += each) {
    const rows = Math.min(each, out - row);
    const w = Float64Array.from(widenBf16(synthesize(name, [all, inner], 0, (first + row) * inner, rows * inner)));
    for (let r = 0; r < rows; r += 4) {
      const [a, b, c, d] = [0, 1, 2, 3].map((n) => Math.min(r + n, rows - 1) * inner) as [number, number, number, number];
      for (const [i, x] of xs.entries()) {
        let [s0, s1, s2, s3] = [0, 0, 0, 0];
        for (let k = 0; k < inner; k++) {
          const v = x[k]!;
          s0 += v * w[a + k]!;
          s1 += v * w[b + k]!;
          s2 += v * w[c + k]!;
          s3 += v * w[d + k]!;
        }
        ys[i]!.set([s0, s1, s2, s3].slice(0, rows - r), row + r);
      }
    }
  }
  return ys;
}

const plus = (a: ArrayLike<number>, b: ArrayLike<number>, scale?: ArrayLike<number>): Row =>
  Float64Array.from(a, (v, i) => v + b[i]! * (scale ? scale[i]! : 1));

/** Each query's attention over all keys and values; the heads of one lie side by side. */
function attend(
  queries: readonly { q: Row; count: number }[],
  keys: readonly Row[],
  values: readonly Row[],
  heads: number,
  d: number,
): Row[] {
  const [k, v] = [f32(keys.flatMap((row) => [...row])), f32(values.flatMap((row) => [...row]))];
  const group = (heads * d) / keys[0]!.length;
  return queries.map(({ q, count }) => {
    const out = new Float64Array(heads * d);
    for (let head = 0; head < heads; head++) {
      const at = (j: number, i: number) => j * keys[0]!.length + Math.floor(head / group) * d + i;
      out.set(attention(f32(q.subarray(head * d, (head + 1) * d)), count, { data: k, at }, { data: v, at }), head * d);
    }
    return out;
  });
}

/** InternViT's layer for some tokens of a tile. */
function visionTwin(
  { hiddenSize: c, intermediateSize: i, heads, eps }: VisionConfig,
  x: readonly Float32Array[],
  picked: readonly number[],
): Row[] {
  const at = (name: string) => `vision_model.encoder.layers.0.${name}`;
  const normed = x.map((row) => norm(row, vector(at("norm1.weight"), c), undefined, eps));
  const whole = (which: number, rows: readonly Row[]) => product(at("attn.qkv.weight"), 3 * c, rows, which * c, c);
  const overAll = (name: string, rows: Row[]) =>
    rows.map((row) => norm(f32(row), vector(at(`attn.${name}_norm.weight`), c), undefined, eps));
  const q = overAll(
    "q",
    whole(
      0,
      picked.map((token) => normed[token]!),
    ),
  );
  const [k, v] = [overAll("k", whole(1, normed)), whole(2, normed)];
  const heard = attend(
    q.map((q) => ({ q, count: x.length })),
    k,
    v,
    heads,
    c / heads,
  );
  const proj = product(at("attn.proj.weight"), c, heard).map((row) => plus(row, vector(at("attn.proj.bias"), c)));
  const first = proj.map((row, n) => plus(x[picked[n]!]!, row, vector(at("ls1"), c)));
  const inner = product(
    at("mlp.fc1.weight"),
    i,
    first.map((row) => norm(f32(row), vector(at("norm2.weight"), c), undefined, eps)),
  );
  const active = inner.map((row) => plus(row, vector(at("mlp.fc1.bias"), i)).map(gelu));
  const out = product(at("mlp.fc2.weight"), c, active).map((row) => plus(row, vector(at("mlp.fc2.bias"), c)));
  return out.map((row, n) => plus(first[n]!, row, vector(at("ls2"), c)));
}

/** A decoder's layer for some tokens; position = place. */
function decoderTwin({ language: l }: ModelConfig, names: DecoderNames, x: readonly Float32Array[], picked: readonly number[]): Row[] {
  const { hiddenSize: h, intermediateSize: i, heads, kvHeads, headDim: d, eps } = l;
  const at = (name: string) => `language_model.model.layers.0.${name}`;
  const normed = x.map((row) => norm(row, vector(at(names.attentionNorm), h), undefined, eps));
  const sources = names.qkv(l);
  /** Rows of q | k | v as the layer has them, wherever they lie in the files. */
  const projected = (from: number, count: number, rows: readonly Row[]): Row[] => {
    const ys = rows.map(() => new Float64Array(count));
    let base = 0;
    for (const [n, { name, rows: all, blocks = [{ from: 0, to: 0, rows: all }] }] of sources.entries()) {
      for (const block of blocks) {
        const [begin, end] = [Math.max(from, base + block.to), Math.min(from + count, base + block.to + block.rows)];
        if (begin >= end) continue;
        const part = product(at(name), all, rows, begin - base - block.to + block.from, end - begin);
        const bias = names.qkvBias && syntheticF32(at(names.qkvBias[n]!), [all]);
        for (const [r, row] of part.entries()) ys[r]!.set(bias ? plus(row, bias.subarray(begin - base, end - base)) : row, begin - from);
      }
      base += all;
    }
    return ys;
  };
  const turned = (row: Row, position: number) => {
    for (let head = 0; head < row.length; head += d) row.set(rope(row.subarray(head, head + d), position, l.rope.theta), head);
    return row;
  };
  const q = projected(
    0,
    heads * d,
    picked.map((token) => normed[token]!),
  ).map((row, n) => turned(row, picked[n]!));
  const k = projected(heads * d, kvHeads * d, normed).map(turned);
  const v = projected((heads + kvHeads) * d, kvHeads * d, normed);
  const heard = attend(
    q.map((q, n) => ({ q, count: picked[n]! + 1 })),
    k,
    v,
    heads,
    d,
  );
  const first = product(at(names.output), h, heard).map((row, n) => plus(x[picked[n]!]!, row));
  const inner = first.map((row) => norm(f32(row), vector(at(names.mlpNorm), h), undefined, eps));
  const [gate, up] = [product(at(names.gate), i, inner), product(at(names.up), i, inner)];
  const gated = gate.map((row, n) => row.map((g, j) => swiglu(g, up[n]![j]!)));
  return product(at(names.down), h, gated).map((row, n) => plus(first[n]!, row));
}

const rowsOf = (data: Float32Array, width: number): Float32Array[] =>
  Array.from({ length: data.length / width }, (_, row) => data.subarray(row * width, (row + 1) * width));

describe("one layer of a large model", () => {
  let gpu: Gpu;
  let programs: Programs;
  useGpu((opened) => {
    gpu = opened;
    programs = new Programs(gpu);
  });

  const activation = (data: Float32Array<ArrayBuffer>, width: number, unit: number): Activation => {
    const buffer = gpu.memory.create("x", data.byteLength);
    gpu.memory.write(buffer, 0, data);
    return { label: "x", rows: { base: 0, unit }, width, buffer };
  };
  const read = async ({ buffer, width }: Activation, tokens: number) =>
    rowsOf(new Float32Array(await gpu.memory.read(buffer, 0, tokens * width * 4)), width);
  const weightsOf = (config: ModelConfig, of: RegExp) => {
    const shapes = checkpointTensors(config).filter(({ name }) => of.test(name));
    return GpuWeights.of(gpu, syntheticTensors(gpu, shapes, 0), { format: "auto", onBytes: () => {} });
  };

  function compare(what: string, got: readonly Float32Array[], want: readonly Row[], picked: readonly number[]): void {
    for (const [n, token] of picked.entries()) {
      const error = relativeL2(got[token]!, want[n]!);
      console.log(`${what}, token ${token} on ${gpu.adapterName}: ${error.toExponential(2)}`);
      expect(error, `token ${token}`).toBeLessThan(BOUND);
    }
  }

  async function vision(config: ModelConfig, tokens: number, picked: readonly number[]): Promise<void> {
    const c = config.vision.hiddenSize;
    const layer = await weightsOf(config, /^vision_model\.encoder\.layers\.0\./).load((w) =>
      declareVisionLayer(w.at("vision_model.encoder.layers.0"), config.vision, VISION_NAMES.original),
    );
    const data = syntheticF32("input.vit_layer", [tokens, c]);
    const x = activation(data, c, tokens);
    (await programs.record("layer", 1, (p) => recordVisionLayer(p, layer, x, config.vision))).run({ units: 1, start: 0 });
    compare(`InternViT ${c}`, await read(x, tokens), visionTwin(config.vision, rowsOf(data, c), picked), picked);
  }

  async function decoder(config: ModelConfig, names: DecoderNames, tokens: number, picked: readonly number[]): Promise<void> {
    const { hiddenSize: h, headDim, heads, rope: r } = config.language;
    const layer = await weightsOf(config, /^language_model\.model\.layers\.0\./).load((w) =>
      declareDecoderLayer(w.at("language_model.model.layers.0"), config.language, names),
    );
    const context = tokens + 1;
    const cache = createCaches(gpu.memory, { ...config.language, layers: 1 }, context, 1, "f32")[0]!;
    const table = ropeTable(context, inverseFrequencies(headDim, r.theta));
    const rope = gpu.memory.create("rope", table.byteLength);
    gpu.memory.write(rope, 0, table);
    const data = syntheticF32("input.llm_layer", [context, h]);
    const x = activation(data.slice(0, tokens * h), h, 1);
    const prefill = await programs.record("prefill", tokens, (p) => recordDecoderLayer(p, layer, x, { ...cache, slot: 0 }, rope, heads));
    prefill.run({ units: tokens, start: 0 });
    const one = activation(data.slice(tokens * h), h, 1);
    (await programs.record("decode", 1, (p) => recordDecoderLayer(p, layer, one, cache, rope, heads))).run({ units: 1, start: tokens });
    const got = [...(await read(x, tokens)), ...(await read(one, 1))];
    compare(`${config.language.architecture} ${h}`, got, decoderTwin(config, names, rowsOf(data, h), picked), picked);
  }

  const configOf = (size: string) => parseConfig(fixture(`internvl2_5-${size}.config.json`));
  const LONG = 1_800_000;
  const WHOLE = "a layer of 0.1 to 0.9 billion weights: with npm run test:full";

  it("InternViT-6B: 25 heads of 128, q and k normed over all 3200, with a narrow MLP", async (context) => {
    context.skip(isQuick, `a large layer: ${ELSEWHERE}`);
    const config = configOf("26b");
    expect(config.vision).toMatchObject({ hiddenSize: 3200, heads: 25, qkNorm: true, qkvBias: false, norm: "rms_norm" });
    await vision({ ...config, vision: { ...config.vision, intermediateSize: 64 } }, 3, [0, 2]);
  });

  it("InternViT-6B, whole, 1025 tokens", { timeout: LONG }, async (context) => {
    context.skip(!inject("full"), WHOLE);
    await vision(configOf("26b"), 1025, [0, 511, 1024]);
  });

  it.for([
    ["InternLM2-20B", "26b", internLm2, { hiddenSize: 6144, heads: 48, kvHeads: 8, intermediateSize: 16384 }],
    ["Qwen2.5-72B", "78b", qwen2, { hiddenSize: 8192, heads: 64, kvHeads: 8, intermediateSize: 29568 }],
  ] as const)("%s, whole, 17 tokens and one decoded", { timeout: LONG }, async ([, size, names, shape], context) => {
    context.skip(!inject("full"), WHOLE);
    const config = configOf(size);
    expect(config.language).toMatchObject(shape);
    await decoder(config, names, 17, [0, 16, 17]);
  });
});
