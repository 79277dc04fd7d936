import type { PeerSpec } from "../../src/harness/case.ts";
import { codeAt, GROUP, widenHalf } from "../../src/tensor/tensor.ts";
import type { Peer, PeerRun } from "./bench.ts";
import { type OnnxNode, type OnnxTensor, onnxModel } from "./onnx.ts";
import { loadOrt, ON_CPU, ON_GPU, type OrtTensor } from "./ort-load.ts";

type Floats = Float32Array<ArrayBuffer>;
type Product = Extract<PeerSpec, { op: "matmul" }>;

/** What a case needs from ONNX Runtime: f32 inputs, weights of the model, one node with the output `y`. */
interface Graph {
  node: OnnxNode;
  inputs: Record<string, { dims: number[]; data: Floats }>;
  weights: OnnxTensor[];
  output: number[];
}

/** wᵀ as f32 [k, n], what MatMul wants. */
function transposed({ n, k, w: { values } }: Product): Floats {
  const out = new Float32Array(n * k);
  for (let row = 0; row < n; row++) for (let column = 0; column < k; column++) out[column * n + row] = values[row * k + column]!;
  return out;
}

/** MatMulNBits: blocks of 32 along K, element 2i in the low half of byte i, zero point 8; 8-bit codes have the zero point 128. */
function quantizedGraph({ m, n, k, x, weights, w }: Product): Graph {
  const bits = weights === "q4" ? 4 : 8;
  const scales = Float32Array.from(w.scales!, widenHalf);
  const codes = new Uint8Array((n * k * bits) / 8);
  for (let i = 0; i < n * k; i++) {
    if (bits === 8) codes[i] = codeAt(w.bytes, i, "q8") + 128;
    else codes[i >> 1]! |= (codeAt(w.bytes, i, "q4") + 8) << (4 * (i % 2));
  }
  return {
    node: {
      op: "MatMulNBits",
      domain: "com.microsoft",
      inputs: ["x", "w", "scales"],
      outputs: ["y"],
      ints: { K: k, N: n, bits, block_size: GROUP },
    },
    inputs: { x: { dims: [m, k], data: x } },
    weights: [
      { name: "w", dims: [n, k / GROUP, (GROUP * bits) / 8], data: codes },
      { name: "scales", dims: [(n * k) / GROUP], data: scales },
    ],
    output: [m, n],
  };
}

/** The columns first .. first + width of every row. */
function columnsOf(data: Floats, rows: number, stride: number, first: number, width: number): Floats {
  const out = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) out.set(data.subarray(row * stride + first, row * stride + first + width), row * width);
  return out;
}

function graphOf(spec: PeerSpec): Graph {
  switch (spec.op) {
    case "matmul": {
      const { m, n, k, x, w } = spec;
      if (w.scales) return quantizedGraph(spec);
      return {
        node: { op: "MatMul", inputs: ["x", "w"], outputs: ["y"] },
        inputs: { x: { dims: [m, k], data: x } },
        weights: [{ name: "w", dims: [k, n], data: transposed(spec) }],
        output: [m, n],
      };
    }
    case "attention": {
      const { tokens, heads, headDim, qkv } = spec;
      const width = heads * headDim;
      const part = (i: number) => ({ dims: [1, tokens, width], data: columnsOf(qkv, tokens, 3 * width, i * width, width) });
      return {
        node: { op: "MultiHeadAttention", domain: "com.microsoft", inputs: ["q", "k", "v"], outputs: ["y"], ints: { num_heads: heads } },
        inputs: { q: part(0), k: part(1), v: part(2) },
        weights: [],
        output: [1, tokens, width],
      };
    }
    case "causal": {
      // All but the last `tokens` positions are the past; the new keys and values come in as rows [tokens, kvHeads headDim].
      const { tokens, context, heads, kvHeads, headDim, q, keys, values } = spec;
      const past = context - tokens;
      const split = (cache: Floats) => {
        const old = new Float32Array(kvHeads * past * headDim);
        const fresh = new Float32Array(tokens * kvHeads * headDim);
        for (let head = 0; head < kvHeads; head++) {
          const from = head * context * headDim;
          old.set(cache.subarray(from, from + past * headDim), head * past * headDim);
          for (let t = 0; t < tokens; t++) {
            const row = from + (past + t) * headDim;
            fresh.set(cache.subarray(row, row + headDim), (t * kvHeads + head) * headDim);
          }
        }
        return { old, fresh };
      };
      const k = split(keys);
      const v = split(values);
      const width = kvHeads * headDim;
      return {
        node: {
          op: "GroupQueryAttention",
          domain: "com.microsoft",
          inputs: ["q", "k", "v", "past_k", "past_v", "seqlens", "total"],
          outputs: ["y", "present_k", "present_v"],
          ints: { num_heads: heads, kv_num_heads: kvHeads },
        },
        inputs: {
          q: { dims: [1, tokens, heads * headDim], data: q },
          k: { dims: [1, tokens, width], data: k.fresh },
          v: { dims: [1, tokens, width], data: v.fresh },
          past_k: { dims: [1, kvHeads, past, headDim], data: k.old },
          past_v: { dims: [1, kvHeads, past, headDim], data: v.old },
        },
        weights: [
          { name: "seqlens", dims: [1], data: Int32Array.of(context - 1) },
          { name: "total", dims: [1], data: Int32Array.of(context) },
        ],
        output: [1, tokens, heads * headDim],
      };
    }
    case "norm": {
      const { rows, eps, x, weight, bias } = spec;
      const width = weight.length;
      return {
        node: bias
          ? { op: "LayerNormalization", inputs: ["x", "weight", "bias"], outputs: ["y"], ints: { axis: 1 }, floats: { epsilon: eps } }
          : { op: "SimplifiedLayerNormalization", inputs: ["x", "weight"], outputs: ["y"], ints: { axis: 1 }, floats: { epsilon: eps } },
        inputs: { x: { dims: [rows, width], data: x } },
        weights: [{ name: "weight", dims: [width], data: weight }, ...(bias ? [{ name: "bias", dims: [width], data: bias }] : [])],
        output: [rows, width],
      };
    }
    default:
      return spec satisfies never;
  }
}

/**
 * ONNX Runtime's `webgpu` execution provider (its own Dawn, on the Vulkan adapter that it picks). Inputs are uploaded once (a Neg
 * whose output stays on the GPU, of the negated data), outputs stay on the GPU. A sample is some runs and one more of a Slice of one
 * element that comes back to the CPU: it waits for what was submitted before it, and 4 bytes are all that is transferred. No session is
 * ever released: 1.30.0 aborts the process when one is (an assertion on a BufferManager that is gone).
 */
export function ortPeer(): Peer {
  const ort = loadOrt();
  const upload = async (dims: number[], data: Floats): Promise<OrtTensor> => {
    const session = await ort.InferenceSession.create(
      onnxModel([{ op: "Neg", inputs: ["x"], outputs: ["y"] }], { x: dims }, { y: dims }),
      ON_GPU,
    );
    const { y } = await session.run({
      x: new ort.Tensor(
        "float32",
        data.map((v) => -v),
        dims,
      ),
    });
    return y!;
  };
  return {
    name: "onnxruntime-node webgpu",
    async prepare(spec): Promise<PeerRun> {
      const { node, inputs, weights, output } = graphOf(spec);
      const dims = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.dims]));
      // Only y is asked for; GroupQueryAttention writes its present keys and values too, as outputs of the graph.
      const outputs: Record<string, number[]> = { y: output };
      if (spec.op === "causal")
        for (const name of ["present_k", "present_v"]) outputs[name] = [1, spec.kvHeads, spec.context, spec.headDim];
      const model = onnxModel([node], dims, outputs, weights);
      const check = await ort.InferenceSession.create(model, ON_CPU);
      const cpuFeeds = Object.fromEntries(
        Object.entries(inputs).map(([name, input]) => [name, new ort.Tensor("float32", input.data, input.dims)]),
      );
      const checked = (await check.run(cpuFeeds)).y!.data.slice();
      const session = await ort.InferenceSession.create(model, ON_GPU);
      const one = output.map(() => 1n);
      const slice = onnxModel(
        [{ op: "Slice", inputs: ["x", "starts", "ends"], outputs: ["y"] }],
        { x: output },
        { y: output.map(() => 1) },
        [
          { name: "starts", dims: [output.length], data: new BigInt64Array(output.length) },
          { name: "ends", dims: [output.length], data: BigInt64Array.from(one) },
        ],
      );
      const wait = await ort.InferenceSession.create(slice, ON_CPU);
      const feeds: Record<string, OrtTensor> = {};
      for (const [name, input] of Object.entries(inputs)) feeds[name] = await upload(input.dims, input.data);
      return {
        output: checked,
        async run(iterations) {
          let last: Record<string, OrtTensor> = {};
          for (let i = 0; i < iterations; i++) {
            for (const tensor of Object.values(last)) tensor.dispose();
            last = await session.run(feeds);
          }
          await wait.run({ x: last.y! });
          for (const tensor of Object.values(last)) tensor.dispose();
        },
        async dispose() {
          for (const tensor of Object.values(feeds)) tensor.dispose();
        },
      };
    },
  };
}
