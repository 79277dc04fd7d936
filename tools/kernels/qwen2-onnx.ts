import { EngineError } from "../../src/errors.ts";
import type { LanguageConfig } from "../../src/model/config.ts";
import { ropeFrequencies } from "../../src/model/rope.ts";
import { inverseFrequencies, ropeTable } from "../../src/ops/rope.ts";
import type { GpuWeights } from "../../src/weights/gpu-weights.ts";
import { type OnnxNode, type OnnxTensor, type OnnxValue, onnxModel } from "./onnx.ts";

type Floats = Float32Array<ArrayBuffer>;

/** How attention is spelt: ONNX Runtime's own op with rope inside, or plain ops of ONNX. */
export type AttentionForm = "GroupQueryAttention" | "plain ops";

/** A model has to stay below protobuf's 2 GiB, and is copied once while it is written. */
const MOST_BYTES = 2 ** 30;

/** @throws EngineError bad-input where `qwen2Onnx` has no graph: another decoder, or one too large for a model in one protobuf */
export function checkQwen2(c: LanguageConfig): void {
  if (c.architecture !== "Qwen2ForCausalLM")
    throw new EngineError("bad-input", `there is an ONNX graph for Qwen2ForCausalLM, this decoder is ${c.architecture}`, {
      hint: "leave --vs ort out, or take a model with that decoder",
    });
  const layer = c.hiddenSize * (2 * (c.heads + c.kvHeads) * c.headDim + 3 * c.intermediateSize);
  const bytes = 4 * (c.layers * layer + 2 * c.vocabSize * c.hiddenSize);
  if (bytes > MOST_BYTES) {
    throw new EngineError("bad-input", `this decoder has ${bytes} bytes in f32, an ONNX file for it can have ${MOST_BYTES}`, {
      hint: "take a smaller model, such as the embedded nano",
    });
  }
}

/** Linears' weights [rows, inner] below each other, transposed to what MatMul wants: [inner, all rows]. */
function transposed(parts: readonly Floats[], inner: number): Floats {
  const total = parts.reduce((sum, part) => sum + part.length, 0) / inner;
  const out = new Float32Array(inner * total);
  let base = 0;
  for (const part of parts) {
    const rows = part.length / inner;
    for (let row = 0; row < rows; row++) for (let k = 0; k < inner; k++) out[k * total + base + row] = part[row * inner + k]!;
    base += rows;
  }
  return out;
}

const concat = (parts: readonly Floats[]): Floats => Float32Array.from(parts.flatMap((part) => [...part]));

/** Nodes and initializers of a graph, as they are added. */
class Graph {
  readonly nodes: OnnxNode[] = [];
  readonly weights: OnnxTensor[] = [];

  /** One node with one output. */
  add(op: string, inputs: readonly string[], output: string, ints?: Record<string, number>): string {
    this.nodes.push({ op, inputs, outputs: [output], ...(ints && { ints }) });
    return output;
  }

  weight(name: string, dims: readonly number[], data: OnnxTensor["data"]): string {
    this.weights.push({ name, dims, data });
    return name;
  }

  ints(name: string, ...values: number[]): string {
    return this.weight(name, [values.length], BigInt64Array.from(values, BigInt));
  }

  linear(x: string, name: string, parts: readonly Floats[], inner: number): string {
    const data = transposed(parts, inner);
    return this.add("MatMul", [x, this.weight(`${name}.w`, [inner, data.length / inner], data)], name);
  }
}

/** cos and sin by themselves: [positions, headDim / 2], or each row twice over, [positions, headDim], for `x cos + rotated(x) sin`. */
function addRope(g: Graph, { headDim, rope }: LanguageConfig, positions: number, twice: boolean): void {
  const { inverse, scale } = ropeFrequencies(inverseFrequencies(headDim, rope.theta), rope);
  const table = ropeTable(positions, inverse, scale);
  const half = headDim / 2;
  const width = twice ? headDim : half;
  for (const [part, name] of ["cos", "sin"].entries()) {
    const data = Float32Array.from({ length: positions * width }, (_, i) => table[(Math.floor(i / width) * half + (i % half)) * 2 + part]!);
    g.weight(name, [positions, width], data);
  }
}

/** Packed qkv [1, 1, (heads + 2 kvHeads) headDim] and the past → [1, 1, heads headDim] and the present, by one op. */
function groupQueryAttention(g: Graph, c: LanguageConfig, i: number, qkv: string): string {
  const inputs = [qkv, "", "", `past.${i}.key`, `past.${i}.value`, "position", "total", "cos", "sin"];
  const outputs = [`${i}.attention`, `present.${i}.key`, `present.${i}.value`];
  const ints = { num_heads: c.heads, kv_num_heads: c.kvHeads, do_rotary: 1 };
  g.nodes.push({ op: "GroupQueryAttention", domain: "com.microsoft", inputs, outputs, ints });
  return outputs[0]!;
}

/** The same by plain ops, for one token: it sees all there is, so there is no mask. Keys are held as [1, kvHeads, headDim, past]. */
function plainAttention(g: Graph, i: number, qkv: string): string {
  const n = (name: string) => `${i}.${name}`;
  const split = (x: string, sizes: string, outputs: string[], axis: number) =>
    g.nodes.push({ op: "Split", inputs: [x, sizes], outputs, ints: { axis } });
  const heads = g.add("Reshape", [qkv, "shape.qkv"], n("heads")); // [1, heads + 2 kvHeads, 1, headDim]
  split(heads, "split.rotated", [n("qk"), n("v")], 1);
  split(n("qk"), "split.halves", [n("a"), n("b")], 3);
  const turned = g.add("Concat", [g.add("Neg", [n("b")], n("-b")), n("a")], n("turned"), { axis: 3 });
  const products = [g.add("Mul", [n("qk"), "cos.here"], n("qk.cos")), g.add("Mul", [turned, "sin.here"], n("qk.sin"))];
  split(g.add("Add", products, n("rotated")), "split.qk", [n("q"), n("k")], 1);
  const q = g.add("Reshape", [n("q"), "shape.q"], n("q.grouped")); // [1, kvHeads, group, headDim]
  const k = g.add("Reshape", [n("k"), "shape.k"], n("k.column")); // [1, kvHeads, headDim, 1]
  const keys = g.add("Concat", [`past.${i}.key`, k], `present.${i}.key`, { axis: 3 });
  const values = g.add("Concat", [`past.${i}.value`, n("v")], `present.${i}.value`, { axis: 2 });
  const scores = g.add("Mul", [g.add("MatMul", [q, keys], n("products")), "scale"], n("scores"));
  const sums = g.add("MatMul", [g.add("Softmax", [scores], n("weights"), { axis: 3 }), values], n("sums"));
  return g.add("Reshape", [sums, "shape.out"], n("attention"));
}

function addPlainConstants(g: Graph, c: LanguageConfig): void {
  const { heads, kvHeads, headDim } = c;
  g.ints("shape.qkv", 1, heads + 2 * kvHeads, 1, headDim);
  g.ints("split.rotated", heads + kvHeads, kvHeads);
  g.ints("split.halves", headDim / 2, headDim / 2);
  g.ints("split.qk", heads, kvHeads);
  g.ints("shape.q", 1, kvHeads, heads / kvHeads, headDim);
  g.ints("shape.k", 1, kvHeads, headDim, 1);
  g.ints("shape.out", 1, 1, heads * headDim);
  g.weight("scale", [1], Float32Array.of(1 / Math.sqrt(headDim)));
  for (const name of ["cos", "sin"]) g.add("Gather", [name, "position"], `${name}.here`); // [1, headDim]
}

/** x + y and its norm, as exporters for ONNX Runtime fuse them. */
function addNorm(g: Graph, x: string, y: string, weight: string, name: string, epsilon: number): [x: string, normed: string] {
  const outputs = [`${name}.normed`, "", "", `${name}.x`];
  const inputs = [x, y, weight];
  g.nodes.push({ op: "SkipSimplifiedLayerNormalization", domain: "com.microsoft", inputs, outputs, floats: { epsilon } });
  return [outputs[3]!, outputs[0]!];
}

/** Shapes of the past and of the present, by name. */
function cacheValues(c: LanguageConfig, form: AttentionForm, name: "past" | "present"): Record<string, OnnxValue> {
  const rows = [1, c.kvHeads, name, c.headDim];
  const columns = [1, c.kvHeads, c.headDim, name];
  return Object.fromEntries(
    Array.from({ length: c.layers }, (_, i): [string, OnnxValue][] => [
      [`${name}.${i}.key`, { dims: form === "plain ops" ? columns : rows, type: "float32" }],
      [`${name}.${i}.value`, { dims: rows, type: "float32" }],
    ]).flat(),
  );
}

/**
 * A greedy decode step of a Qwen2 decoder as an ONNX model in f32: `id` i64 [1, 1], `position` i32 [1] of that id, `total` i32 [1] =
 * position + 1, `past.i.key` and `past.i.value` → the next id as `next` i64 [1, 1], `present.i.key` and `present.i.value`.
 *
 * @param w the tensors below `language_model.`
 * @throws EngineError as `checkQwen2`
 */
export async function qwen2Onnx(w: GpuWeights, c: LanguageConfig, positions: number, form: AttentionForm): Promise<Buffer> {
  checkQwen2(c);
  const { hiddenSize: H, intermediateSize: I, vocabSize, heads, kvHeads, headDim, eps } = c;
  const g = new Graph();
  addRope(g, c, positions, form === "plain ops");
  if (form === "plain ops") addPlainConstants(g, c);
  const model = w.at("model");
  const embed = await model.read("embed_tokens.weight", [vocabSize, H]);
  const normOf = async (name: string) => g.weight(name, [H], await model.read(name, [H]));
  let x = g.add("Gather", [g.weight("embed", [vocabSize, H], embed), "id"], "x"); // [1, 1, H]
  const first = { op: "SimplifiedLayerNormalization", inputs: [x, await normOf("layers.0.input_layernorm.weight")], outputs: ["normed"] };
  g.nodes.push({ ...first, ints: { axis: 2 }, floats: { epsilon: eps } });
  let normed = "normed";
  for (let i = 0; i < c.layers; i++) {
    const layer = model.at("layers").at(i);
    const sizes = [
      ["q", heads * headDim],
      ["k", kvHeads * headDim],
      ["v", kvHeads * headDim],
    ] as const;
    const matrices: Floats[] = [];
    const biases: Floats[] = [];
    for (const [name, size] of sizes) {
      matrices.push(await layer.read(`self_attn.${name}_proj.weight`, [size, H]));
      biases.push(await layer.read(`self_attn.${name}_proj.bias`, [size]));
    }
    const linear = async (from: string, name: string, out: number, inner: number) =>
      g.linear(from, `${i}.${name}`, [await layer.read(`${name}.weight`, [out, inner])], inner);
    const bias = g.weight(`${i}.qkv.bias`, [(heads + 2 * kvHeads) * headDim], concat(biases));
    const qkv = g.add("Add", [g.linear(normed, `${i}.qkv.products`, matrices, H), bias], `${i}.qkv`);
    const attended = form === "plain ops" ? plainAttention(g, i, qkv) : groupQueryAttention(g, c, i, qkv);
    const attention = await linear(attended, "self_attn.o_proj", H, heads * headDim);
    [x, normed] = addNorm(g, x, attention, await normOf(`layers.${i}.post_attention_layernorm.weight`), `${i}.mlp`, eps);
    const gate = await linear(normed, "mlp.gate_proj", I, H);
    const up = await linear(normed, "mlp.up_proj", I, H);
    const silu = g.add("Mul", [gate, g.add("Sigmoid", [gate], `${i}.sigmoid`)], `${i}.silu`);
    const down = await linear(g.add("Mul", [silu, up], `${i}.gated`), "mlp.down_proj", H, I);
    const next = i + 1 < c.layers ? `layers.${i + 1}.input_layernorm.weight` : "norm.weight";
    [x, normed] = addNorm(g, x, down, await normOf(next), `${i}.end`, eps);
  }
  const head = w.has("lm_head.weight") ? await w.read("lm_head.weight", [vocabSize, H]) : embed;
  g.add("ArgMax", [g.linear(normed, "logits", [head], H)], "next", { axis: 2, keepdims: 0 });
  const scalar: OnnxValue = { dims: [1], type: "int32" };
  const id: OnnxValue = { dims: [1, 1], type: "int64" };
  const total: Record<string, OnnxValue> = form === "plain ops" ? {} : { total: scalar };
  const inputs = { id, position: scalar, ...total, ...cacheValues(c, form, "past") };
  return onnxModel(g.nodes, inputs, { next: id, ...cacheValues(c, form, "present") }, g.weights);
}
