import type { ScratchKind } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { Program, STEP_BYTES } from "../gpu/program.ts";
import type { MatmulVariant } from "./choose.ts";

const ROUNDS = 3;
const HOPELESS = 3; // slower than the best so far by this factor at first sight: not timed again

/** Times a product of `rows` rows by each variant, in turns, and returns the fastest. `record` records it for an input of that many rows. */
export async function fastestVariant(
  gpu: Gpu,
  variants: readonly MatmulVariant[],
  rows: number,
  record: (program: Program, variant: MatmulVariant) => void,
): Promise<MatmulVariant> {
  const kept: (GPUBuffer | GPUTexture)[] = [];
  const keep = <T extends GPUBuffer | GPUTexture>(storage: T): T => {
    kept.push(storage);
    return storage;
  };
  const step = keep(gpu.memory.create("tuning step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST));
  const scratch = {
    take: (bytes: number) => keep(gpu.memory.create("tuning", bytes)),
    takeOther: <T extends GPUBuffer | GPUTexture>(kind: ScratchKind<T>, size: number) => keep(kind.make(gpu.memory, size)),
    scope: <T>(work: () => T) => work(),
  };
  const programs: Program[] = [];
  const time = async (program: Program) => {
    const start = performance.now();
    program.run({ units: rows, start: 0 });
    await gpu.memory.flush();
    return performance.now() - start;
  };
  try {
    const entries: { variant: MatmulVariant; program: Program; ms: number }[] = [];
    for (const variant of variants) {
      const program = new Program(gpu, `tuning ${variant}`, rows, scratch, step);
      programs.push(program);
      record(program, variant);
      await program.build();
      await time(program); // pipeline and pages ready
      entries.push({ variant, program, ms: await time(program) });
    }
    const limit = HOPELESS * Math.min(...entries.map(({ ms }) => ms));
    for (let round = 0; round < ROUNDS; round++) {
      for (const entry of entries) if (entry.ms <= limit) entry.ms = Math.min(entry.ms, await time(entry.program));
    }
    return entries.reduce((best, entry) => (entry.ms < best.ms ? entry : best)).variant;
  } finally {
    for (const program of programs) program.dispose();
    for (const storage of kept) gpu.memory.destroy(storage);
  }
}
