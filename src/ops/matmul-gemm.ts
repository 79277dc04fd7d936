import type { Library } from "../gpu/kernel.ts";
import { GROUP, isQuantized } from "../tensor/tensor.ts";
import { type MatmulKernel, type MatmulPlan, type MatmulShape, QUANTIZED } from "./matmul-kernels.ts";
import type { Tile } from "./matmul-tiles.ts";

const tile = (rows: number, columns: number, consts: Readonly<Record<string, number>>): Tile => ({ rows, columns, consts });

/** A tile of kernels that take its size as constants. */
export const sized = (TM: number, TN: number, consts: Readonly<Record<string, number>>): Tile => tile(TM, TN, { TM, TN, ...consts });

/** What all GEMM kernels have: how weights of the format are read, and the smallest tile's size. */
export function gemm(
  { dtype, k }: MatmulShape,
  tiles: readonly Tile[],
  plan: Pick<MatmulPlan, "source" | "consts"> & Partial<MatmulPlan>,
): MatmulPlan {
  const EVEN = k % GROUP === 0;
  const wide = EVEN && (isQuantized(dtype) || dtype === "bf16");
  const reader: Library = wide ? `lib/share.${dtype as "q8" | "q4" | "bf16"}` : `lib/weight.${dtype}`;
  const { columns, rows } = tiles.at(-1)!;
  const shared: Library[] = !wide ? ["lib/share.any"] : dtype === "bf16" ? ["lib/widen.bf16"] : [];
  const libs: Library[] = [...(plan.libs ?? []), ...shared, "lib/gemm"];
  return { tiles, columns, rows, ...plan, libs, reader, consts: { EVEN, ...plan.consts } };
}

const PLAIN = [sized(128, 128, { BK: 16 }), sized(128, 64, { BK: 16 }), sized(64, 64, { BK: 32 })];
const DOT4 = [tile(128, 64, { TM: 128 }), tile(64, 64, { TM: 64 })];

/** Matrix times many rows of x; GPUs with matrix units have another (matrix/gemm.ts). */
export const GEMMS = {
  /** f32 tiles by way of workgroup memory. */
  gemm_tile: {
    needs: { invocations: 256, workgroupBytes: 16384 },
    plan: (_, shape) => gemm(shape, PLAIN, { source: { shader: "matmul.gemm_tile" } }),
  },
  /** Activations in 8 bits: dot4I8Packed makes four products an instruction. Apple's GPUs emulate it. */
  gemm_dot4: {
    needs: {
      precision: "fast",
      formats: QUANTIZED,
      invocations: 256,
      workgroupBytes: 9984,
      storageBuffers: 8,
      device: ({ vendor }) => vendor !== "apple",
    },
    plan: (_, shape) => gemm(shape, DOT4, { source: { shader: "matmul.gemm_dot4" }, codes: true }),
  },
} satisfies Record<string, MatmulKernel>;
