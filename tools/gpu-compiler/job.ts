import type { Precision } from "../../src/gpu/program.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";

/** What the child process is to compile, on null hardware; JSON in its arguments. */
export interface Job {
  /** A part of the adapter's name. */
  adapter: string;
  /** Where the driver writes what its compiler says (SHADER_STATS), and the child in between whose lines come next. */
  statistics: string;
  /** Models: what each would run, with its weights in each format, at each precision. */
  models?: { name: string; config: string; weights: MatrixDtype[]; precisions: Precision[] }[];
  /** Whether to measure what a token of each model costs the CPU. */
  token?: boolean;
  /** Cases of the harness. */
  cases?: { op?: string | undefined; filter?: string | undefined };
  /** Files of WGSL, each entry point of them, with `@subgroup_size(size)` where that is given. */
  files?: { paths: string[]; size?: number | undefined };
  /** ONNX Runtime's kernels for the same jobs. */
  ort?: boolean;
}
