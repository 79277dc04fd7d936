import type { Gpu } from "../../gpu/device.ts";
import type { MatrixConfig } from "../../gpu/subgroups.ts";
import { sized } from "../matmul-gemm.ts";
import type { Tile } from "../matmul-tiles.ts";

interface Fragments {
  type: "f16" | "f32";
  size: string;
  tiles: readonly Tile[];
  /** Products for an operand (below) that registers hold without spills, where not any number. */
  most?: number;
}

/** Fragments that the subgroup-matrix kernel takes, with the tiles whose results fit the registers of the GPUs that have them. */
const MATRIX_TILES: readonly Fragments[] = [
  { type: "f16", size: "16x16x16", tiles: [sized(128, 128, { BK: 32, GM: 2, GN: 4 }), sized(64, 64, { BK: 32, GM: 2, GN: 2 })] }, // AMD, NVIDIA
  { type: "f16", size: "8x16x16", tiles: [sized(64, 64, { BK: 32, GM: 4, GN: 2 })] }, // Intel Xe2
  { type: "f16", size: "8x8x16", tiles: [sized(64, 64, { BK: 32, GM: 4, GN: 4 })], most: 2 }, // Intel Arc A
  { type: "f32", size: "8x8x8", tiles: [sized(64, 64, { BK: 32, GM: 2, GN: 2 })] }, // Apple: f16 is no faster
];

/** The feature of devices that multiply matrices in subgroups, as Dawn calls it. */
export const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix";

/** The adapter's fragments that kernels on matrix units take. */
export function matrixOf({ matrixSyntax, subgroups }: Gpu): (MatrixConfig & Fragments) | undefined {
  if (!matrixSyntax || subgroups.size === undefined) return undefined;
  for (const each of MATRIX_TILES) {
    const config = subgroups.matrices.find(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === each.type && resultComponentType === "f32" && `${M}x${N}x${K}` === each.size,
    );
    if (config) return { ...config, ...each };
  }
  return undefined;
}

/** The WGSL directives of a kernel on matrix units whose operands are of this type. */
export const matrixDirectives = (componentType: string): string[] => [
  ...(componentType === "f16" ? ["enable f16;"] : []),
  "enable subgroups;",
  "enable chromium_experimental_subgroup_matrix;",
  // Which subgroup a thread is in follows from its index; the analysis cannot know that this is the same for all of it.
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
  "diagnostic(off, subgroup_uniformity);",
];
