import { type OnnxNode, type OnnxTensor, onnxModel } from "../kernels/onnx.ts";
import { loadOrt, ON_CPU } from "../kernels/ort-load.ts";
import type { Recorder } from "./recorder.ts";

interface Graph {
  name: string;
  node: OnnxNode;
  inputs: Record<string, number[]>;
  weights: OnnxTensor[];
  output: number[];
}

const size = (dims: readonly number[]): number => dims.reduce((product, each) => product * each, 1);

/** The jobs of a model's layers, at the sizes of InternVL2_5-4B's decoder (2048 wide) and of both models' attention. */
function graphs(): Graph[] {
  const matmul = ([m, k, n]: readonly [number, number, number]): Graph => ({
    name: `MatMul(${m}x${k}x${n})`,
    node: { op: "MatMul", inputs: ["x", "w"], outputs: ["y"] },
    inputs: { x: [m, k] },
    weights: [{ name: "w", dims: [k, n], data: new Float32Array(k * n) }],
    output: [m, n],
  });
  const quantized = (m: number, accuracy: number): Graph => {
    const [k, n] = [2048, 2048];
    return {
      name: `MatMulNBits(q4,m=${m}${accuracy ? ",dot4" : ""})`,
      node: {
        op: "MatMulNBits",
        domain: "com.microsoft",
        inputs: ["x", "w", "scales"],
        outputs: ["y"],
        ints: { K: k, N: n, bits: 4, block_size: 32, accuracy_level: accuracy },
      },
      inputs: { x: [1, m, k] },
      weights: [
        { name: "w", dims: [n, k / 32, 16], data: new Uint8Array((n * k) / 2) },
        { name: "scales", dims: [(n * k) / 32], data: new Float32Array((n * k) / 32) },
      ],
      output: [1, m, n],
    };
  };
  const attention = (dim: number): Graph => {
    const dims = [1, 1025, 16 * dim];
    return {
      name: `MultiHeadAttention(D=${dim})`,
      node: { op: "MultiHeadAttention", domain: "com.microsoft", inputs: ["q", "k", "v"], outputs: ["y"], ints: { num_heads: 16 } },
      inputs: { q: dims, k: dims, v: dims },
      weights: [],
      output: dims,
    };
  };
  const products = [
    [1024, 2048, 2048],
    [1, 2048, 11008],
  ] as const;
  return [...products.map(matmul), ...[1, 512].flatMap((m) => [quantized(m, 0), quantized(m, 4)]), attention(64), attention(128)];
}

/** Has ONNX Runtime's WebGPU provider compile its kernels: it makes them when a graph first runs. Each gives one or more rows. */
export async function compileOrt(recorder: Recorder): Promise<void> {
  const ort = loadOrt();
  recorder.user = "ONNX Runtime";
  for (const { name, node, inputs, weights, output } of graphs()) {
    recorder.announce(`ort ${name}`);
    const session = await ort.InferenceSession.create(onnxModel([node], inputs, { y: output }, weights), ON_CPU);
    const feeds = Object.entries(inputs).map(
      ([key, dims]) => [key, new ort.Tensor("float32", new Float32Array(size(dims)), dims)] as const,
    );
    await session.run(Object.fromEntries(feeds));
  }
}
