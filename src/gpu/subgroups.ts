/** A shape of fragments that matrix units multiply: [M, K] · [K, N], as GPUAdapterInfo lists it. */
export interface MatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

/** What a device's subgroups and matrix units are like. */
export interface Subgroups {
  /** Threads of every subgroup; undefined where there are none, or where the driver may choose. */
  size: number | undefined;
  /** The size that kernels have to name. */
  pinned: number | undefined;
  /** Shapes of fragments; none where there are no matrix units. */
  matrices: readonly MatrixConfig[];
}

/** Architectures of Intel's that have matrix units. Drivers list configurations for the others too, and emulate them no faster than FMA. */
const INTEL_WITH_UNITS = ["gen-12hp", "xe-2lpg", "xe-2hpg"];

/** What it needs of a GPUAdapterInfo. */
interface Info {
  vendor?: string | undefined;
  architecture?: string | undefined;
  subgroupMinSize?: number | undefined;
  subgroupMaxSize?: number | undefined;
  subgroupMatrixConfigs?: Iterable<MatrixConfig> | undefined;
}

/**
 * Where sizes vary (AMD 32 to 64, Intel 8 to 32) and a kernel names none, Dawn takes twice the smallest, and the driver may no longer fall
 * back to a narrower program where a kernel has too many registers. So the smallest is named there: spills vanish with it.
 *
 * @param info the adapter's own: Dawn's `device.adapterInfo` lacks the matrices (webgpu 0.6.2)
 */
export function subgroupsOf(features: ReadonlySet<string>, info: Info): Subgroups {
  const { vendor, architecture = "", subgroupMinSize: min, subgroupMaxSize: max, subgroupMatrixConfigs } = info;
  const varies = features.has("subgroups") && min !== undefined && min !== max;
  const pinned = varies && features.has("subgroup-size-control") ? min : undefined;
  const size = pinned ?? (features.has("subgroups") && !varies ? min : undefined);
  const emulated = vendor === "intel" && !INTEL_WITH_UNITS.includes(architecture);
  // Dawn's own objects have getters only: what copies them finds nothing.
  const plain = [...(subgroupMatrixConfigs ?? [])].map(({ componentType, resultComponentType, M, N, K }) => {
    return { componentType, resultComponentType, M, N, K };
  });
  return { size, pinned, matrices: emulated ? [] : plain };
}
