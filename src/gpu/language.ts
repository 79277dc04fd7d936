// What this browser's or Dawn's WGSL compiler takes. Asked by compiling: the device may be the caller's, who did not say where it is from.

/** typed: `subgroupMatrixLoad<T, row_major>(p, offset, stride)`; flag: `subgroupMatrixLoad<T>(p, offset, false, stride)`. */
export type MatrixSyntax = "typed" | "flag";

/** Whether the compiler takes a module. */
export async function compiles(device: GPUDevice, what: string, code: string): Promise<boolean> {
  device.pushErrorScope("validation");
  device.createShaderModule({ label: `probe ${what}`, code });
  return (await device.popErrorScope()) === null;
}

const matrixProbe = (load: string) => `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
var<workgroup> tile: array<f16, 1024>;
fn probe() {
  let m = ${load};
}
`;

/**
 * Which form of the experimental extension the compiler of a device that has it takes: it changed in 2026. Undefined where neither form
 * compiles.
 */
export async function matrixSyntaxOf(device: GPUDevice): Promise<MatrixSyntax | undefined> {
  const left = "subgroup_matrix_left<f16, 8, 8>";
  for (const [syntax, load] of [
    ["typed", `subgroupMatrixLoad<${left}, row_major>(&tile, 0u, 8u)`],
    ["flag", `subgroupMatrixLoad<${left}>(&tile, 0u, false, 8u)`],
  ] as const) {
    if (await compiles(device, syntax, matrixProbe(load))) return syntax;
  }
  return undefined;
}

/** Loads and stores in the form `flag` of a kernel that has them in the form `typed`, a line each. */
export const withFlags = (code: string): string =>
  code
    .replace(/(subgroupMatrixLoad<\w+), ?(row|col)_major>\((.*), ?([^,]*)\);/g, (_, load, layout, operands, stride) => {
      return `${load}>(${operands}, ${layout === "col"}, ${stride});`;
    })
    .replace(/subgroupMatrixStore<(row|col)_major>\((.*), ?([^,]*)\);/g, (_, layout, operands, stride) => {
      return `subgroupMatrixStore(${operands}, ${layout === "col"}, ${stride});`;
    });
