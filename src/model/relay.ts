import type { Program, RunOptions, Step } from "../gpu/program.ts";
import { readRing } from "../gpu/ring.ts";
import { bindingOf } from "../tensor/tensor.ts";
import { DIRECT, NOW, type Order, type Stage } from "./stages.ts";

/** Steps that can be on their way between two devices. */
const DEPTH = 2;

/**
 * Of several devices: the residual stream goes from one to the next by way of the host's memory. Each stage takes its steps one after the
 * other, and while one is on its way, the next chunk of a prompt is in the stage before.
 */
export function relay(stages: readonly Stage[]): Order {
  /** Out of each stage but the last. */
  const rings = stages.slice(0, -1).map(({ gpu, x }) => readRing(gpu, DEPTH, bindingOf(x.buffer).buffer.size));
  /** Of each stage: when what was asked of it last is submitted. */
  const lines: Promise<unknown>[] = stages.map(() => NOW);

  function run(programs: readonly Program[], step: Step, { tail, chosen = false }: RunOptions & { chosen?: boolean } = {}): Promise<void> {
    let arriving: Promise<Uint32Array | undefined> = (chosen ? lines.at(-1)! : NOW).then(() => undefined);
    for (const [i, program] of programs.entries()) {
      const ring = rings[i];
      const { gpu, x } = stages[i]!;
      const submitted = Promise.all([arriving, lines[i]]).then(async ([rows]) => {
        await ring?.room();
        if (rows) gpu.memory.write(x.buffer, 0, rows as Uint32Array<ArrayBuffer>);
        const run = (copy: RunOptions["tail"]) => DIRECT.run([program], step, { tail: copy });
        if (ring) return ring.submit(bindingOf(x.buffer).buffer, run, step.units * x.width * 4);
        run(tail);
        return undefined;
      });
      submitted.catch(() => {}); // told to whoever waits for the last stage
      lines[i] = submitted;
      arriving = submitted.then((ticket) => ticket?.words);
    }
    const done = arriving.then(() => {});
    done.catch(() => {}); // told by what comes behind it, too
    return done;
  }

  function behind(work: () => void): Promise<void> {
    const line = lines.at(-1)!.then(work);
    line.catch(() => {}); // as above
    lines[lines.length - 1] = line;
    return line;
  }

  return { run, behind, entered: () => lines[0]!.then(() => {}), idle: () => Promise.all(lines).then(() => {}) };
}
