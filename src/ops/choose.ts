import { late } from "../errors.ts";
import { type Gpu, whenOpened } from "../gpu/device.ts";
import type { Precision } from "../gpu/program.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import { ATTENTIONS, type AttentionKernel, DECODES, type DecodeKernel } from "./attention-kernels.ts";
import { need } from "./check.ts";
import { GEMMS } from "./matmul-gemm.ts";
import { GEMVS } from "./matmul-gemv.ts";
import type { MatmulKernel } from "./matmul-kernels.ts";
import { meets, type Shape } from "./needs.ts";
import { NORMS, type NormKernel } from "./norm-kernels.ts";

/** Every kernel's name, by op. */
export const VARIANTS = {
  // biome-ignore format: a line
  matmul: ["cpu_gemv_thread", "cpu_gemv_subgroup", "cpu_gemv_columns", "cpu_gemm_rows4", "cpu_gemm_rows8", "cpu_gemm_tile32", "cpu_gemm_tile16", "cpu_gemm_panels", "gemv_workgroup", "gemv_subgroup", "gemv_subgroup_matrix", "gemm_tile", "gemm_subgroup_matrix", "gemm_dot4"],
  attention: ["flash_subgroup_matrix", "flash", "cpu_panels", "cpu_thread"],
  decode: ["split", "cpu_vec4", "cpu_vec8"],
  norm: ["workgroup", "subgroups", "cpu_subgroup", "cpu_thread"],
  qkNorm: ["workgroup", "subgroups", "cpu_subgroup"],
} as const;

interface Ops {
  matmul: MatmulKernel;
  attention: AttentionKernel;
  decode: DecodeKernel;
  norm: NormKernel;
  qkNorm: NormKernel;
}
type Op = keyof Ops;
type Variant<O extends Op> = (typeof VARIANTS)[O][number];
/** A way to compute a product, by its name. */
export type MatmulVariant = Variant<"matmul">;
/** A way to compute attention of many tokens. */
export type AttentionVariant = Variant<"attention">;
/** A way to compute attention of one token over the cache. */
export type DecodeVariant = Variant<"decode">;
/** A way to norm rows. */
export type NormVariant = Variant<"norm">;
/** A way to norm the heads of q and k. */
export type QkNormVariant = Variant<"qkNorm">;

/** Variants in the order in which they are tried: the first whose needs are met is taken. Where the device tunes, all of those are timed. */
interface Line<V> {
  /** The line is for at most this many rows, at most this width, these formats and subgroups of this size; what is absent does not count. The first that fits is used. */
  rows?: number;
  width?: number;
  formats?: readonly MatrixDtype[];
  lanes?: number;
  tries: readonly V[];
}
type Table = { readonly [O in Op]: readonly Line<Variant<O>>[] } & {
  /** Rows of a product that is timed, at most. */
  readonly timedRows: number;
};

/** Matrix units where there are any; a GEMM kernel takes its tile from the shape (matmul-tiles.ts). */
const GPU: Table = {
  matmul: [
    // Read the weights once and share them between the rows.
    { rows: 4, tries: ["gemv_subgroup", "gemv_workgroup", "gemm_tile"] },
    { rows: 8, tries: ["gemv_subgroup_matrix", "gemv_subgroup", "gemv_workgroup", "gemm_tile"] },
    { tries: ["gemm_subgroup_matrix", "gemm_dot4", "gemm_tile", "gemv_subgroup", "gemv_workgroup"] },
  ],
  attention: [{ tries: ["flash_subgroup_matrix", "flash"] }],
  decode: [{ tries: ["split"] }],
  norm: [{ tries: ["subgroups", "workgroup"] }],
  qkNorm: [{ tries: ["subgroups", "workgroup"] }],
  timedRows: 512,
};

/** Measured on lavapipe and SwiftShader: loads cost lane by lane, barriers cost most, and kernels with many take up to a minute to compile. */
const CPU: Table = {
  matmul: [
    { rows: 1, formats: ["q8", "q4"], tries: ["cpu_gemv_columns", "gemv_subgroup", "cpu_gemv_thread"] },
    { rows: 1, tries: ["cpu_gemv_subgroup", "gemv_subgroup", "cpu_gemv_thread"] },
    { rows: 8, formats: ["q8", "q4"], tries: ["cpu_gemm_rows4", "cpu_gemv_columns", "gemv_subgroup", "cpu_gemm_rows8", "cpu_gemv_thread"] },
    { rows: 8, lanes: 4, tries: ["cpu_gemm_tile16", "gemv_subgroup"] }, // SwiftShader: rows of a subgroup's own are slow there
    { rows: 2, tries: ["gemv_subgroup", "cpu_gemm_rows8", "cpu_gemv_thread"] },
    { rows: 8, tries: ["cpu_gemm_rows8", "cpu_gemv_thread", "gemv_subgroup", "cpu_gemm_tile16"] },
    { rows: 23, tries: ["cpu_gemm_tile16", "cpu_gemm_tile32", "cpu_gemm_rows8"] },
    { tries: ["cpu_gemm_panels", "cpu_gemm_tile16", "cpu_gemm_tile32"] }, // putting the weights into panels takes less than it saves
  ],
  attention: [{ tries: ["cpu_panels", "cpu_thread", "flash"] }],
  decode: [{ tries: ["cpu_vec8", "cpu_vec4", "split"] }],
  norm: [
    { rows: 7, tries: ["cpu_subgroup", "cpu_thread", "workgroup"] },
    { width: 1024, tries: ["cpu_thread", "workgroup"] }, // until rows are so long that eight of them crowd the cache
    { tries: ["cpu_subgroup", "cpu_thread", "workgroup"] },
  ],
  qkNorm: [{ tries: ["cpu_subgroup", "workgroup"] }],
  timedRows: 64,
};

type Kernels = { readonly [O in Op]: Readonly<Partial<Record<Variant<O>, Ops[O]>>> };

const EVERYWHERE: Kernels = { matmul: { ...GEMVS, ...GEMMS }, attention: ATTENTIONS, decode: DECODES, norm: NORMS, qkNorm: NORMS };
/** What some adapters have besides, once one of them was opened. */
const more: { [Kind in Gpu["kind"]]?: Kernels } = {};

whenOpened("cpu", async (gpu) => {
  const cpu = await late("the kernels of CPU adapters", import("./cpu/index.ts"));
  await cpu.prepare(gpu);
  more.cpu = cpu.KERNELS;
});

whenOpened("gpu", async ({ matrixSyntax }) => {
  if (matrixSyntax) await bringMatrixKernels();
});

/** Loads what runs on matrix units. @throws EngineError network */
export async function bringMatrixKernels(): Promise<void> {
  more.gpu = (await late("the kernels of matrix units", import("./matrix/index.ts"))).KERNELS;
}

/** What a variant loses: it runs only where the caller allows it. CPU adapters' own lose nothing. */
export const precisionOf = (variant: MatmulVariant): Precision => EVERYWHERE.matmul[variant]?.needs.precision ?? "exact";

const tableOf = (gpu: Gpu): Table => (gpu.kind === "cpu" ? CPU : GPU);

function kernelOf<O extends Op>(gpu: Gpu, op: O, variant: Variant<O>): Ops[O] | undefined {
  return (more[gpu.kind]?.[op] as Kernels[O] | undefined)?.[variant] ?? (EVERYWHERE[op] as Kernels[O])[variant];
}

const runs = <O extends Op>(gpu: Gpu, op: O, variant: Variant<O>, shape: Shape): boolean => {
  const kernel = kernelOf(gpu, op, variant);
  return kernel !== undefined && meets(gpu, kernel.needs, shape);
};

/** Every variant that runs on this device and takes the shape; each is right for any number of rows. */
export const variantsOf = <O extends Op>(gpu: Gpu, op: O, shape: Shape = {}): Variant<O>[] =>
  (VARIANTS[op] as readonly Variant<O>[]).filter((variant) => runs(gpu, op, variant, shape));

/** The variants worth trying for the shape, the best first. */
export function triesOf<O extends Op>(gpu: Gpu, op: O, shape: Shape = {}): Variant<O>[] {
  const { rows = 1, width = 0, dtype } = shape;
  const line = (tableOf(gpu)[op] as readonly Line<Variant<O>>[]).find(
    (each) =>
      rows <= (each.rows ?? rows) &&
      width <= (each.width ?? width) &&
      (each.lanes ?? gpu.subgroups.size) === gpu.subgroups.size &&
      (!each.formats || (dtype !== undefined && each.formats.includes(dtype))),
  );
  return line!.tries.filter((variant) => runs(gpu, op, variant, shape));
}

/** How many rows of `rows` are timed where a device tunes. */
export const timedRows = (gpu: Gpu, rows: number): number => Math.min(rows, tableOf(gpu).timedRows);

/** The kernel of the variant that is wanted, else of the best. @throws EngineError bad-input for a variant that the device or the shape does not have */
export function choose<O extends Op>(gpu: Gpu, op: O, name: string, shape: Shape, wanted: Variant<O> | undefined): Ops[O] {
  const variant = wanted ?? triesOf(gpu, op, shape)[0]!;
  const here = `on this adapter${shape.dtype ? ` with ${shape.dtype} weights` : ""}; it has ${variantsOf(gpu, op, shape).join(", ")}`;
  need(runs(gpu, op, variant, shape), name, `variant ${variant} does not run ${here}`);
  return kernelOf(gpu, op, variant)!;
}
