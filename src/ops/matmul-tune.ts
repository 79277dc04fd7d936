import { Arena } from "../gpu/arena.ts";
import type { Gpu } from "../gpu/device.ts";
import { Program, STEP_BYTES } from "../gpu/program.ts";
import type { MatmulVariant } from "./choose.ts";

const ROUNDS = 3;
const HOPELESS = 3; // slower than the best so far by this factor at first sight: not timed again
const MARGIN = 0.95; // of the time that the table's choice takes: what is not clearly faster is not taken
const SUBMIT_FLOPS = 5e9; // in a command buffer, of one product many times: a GEMV alone takes a GPU less time than submitting takes the CPU
const MOST_REPEATS = 64;
const MOST_FLOPS = 4e15; // a second: no device makes as many, so where it seems so nothing was computed, or the clock is too coarse

/**
 * Times a product of `rows` rows by each variant, in turns, and returns the fastest; undefined where times tell nothing. `record` records it
 * for an input of that many rows.
 *
 * @param flops of the product
 */
export async function fastestVariant(
  gpu: Gpu,
  variants: readonly MatmulVariant[],
  rows: number,
  flops: number,
  record: (program: Program, variant: MatmulVariant) => void,
): Promise<MatmulVariant | undefined> {
  if (variants.length === 1) return variants[0]!;
  const step = gpu.memory.create("tuning step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  const arena = new Arena(gpu.memory); // the same storage in every repetition
  const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.floor(SUBMIT_FLOPS / flops)));
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
      const program = new Program(gpu, `tuning ${variant}`, rows, arena, step);
      programs.push(program);
      for (let i = 0; i < repeats; i++) arena.scope(() => record(program, variant));
      await program.build();
      await time(program); // pipeline and pages ready
      entries.push({ variant, program, ms: await time(program) });
    }
    const limit = HOPELESS * Math.min(...entries.map(({ ms }) => ms));
    for (let round = 0; round < ROUNDS; round++) {
      for (const entry of entries) if (entry.ms <= limit) entry.ms = Math.min(entry.ms, await time(entry.program));
    }
    const best = entries.reduce((best, entry) => (entry.ms < best.ms ? entry : best));
    if ((1000 * flops * repeats) / best.ms > MOST_FLOPS) return undefined;
    return best.ms < MARGIN * entries[0]!.ms ? best.variant : entries[0]!.variant;
  } finally {
    for (const program of programs) program.dispose();
    gpu.memory.destroy(step);
    arena.clear();
  }
}
