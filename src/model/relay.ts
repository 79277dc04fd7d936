import type { Program, RunOptions, Step } from "../gpu/program.ts";
import { type ReadRing, readRing } from "../gpu/ring.ts";
import { bindingOf } from "../tensor/tensor.ts";
import { DIRECT, NOW, type Order, type Stage } from "./stages.ts";

/** Steps that can be on their way between two devices. */
const DEPTH = 2;

/**
 * Of several devices: the residual stream goes from one to the next by way of the host's memory. Each stage takes its steps one after the
 * other, and while one is on its way, the next chunk of a prompt is in the stage before.
 */
export class Relay implements Order {
  readonly #stages: readonly Stage[];
  readonly #rings: (ReadRing | undefined)[]; // out of each stage but the last
  readonly #lines: Promise<unknown>[]; // of each stage: when what was asked of it last is submitted

  constructor(stages: readonly Stage[]) {
    this.#stages = stages;
    this.#rings = stages.map(({ gpu, x }, i) =>
      i < stages.length - 1 ? readRing(gpu, DEPTH, bindingOf(x.buffer).buffer.size) : undefined,
    );
    this.#lines = stages.map(() => NOW);
  }

  run(programs: readonly Program[], step: Step, { tail, chosen = false }: RunOptions & { chosen?: boolean } = {}): Promise<void> {
    let arriving: Promise<Uint32Array | undefined> = (chosen ? this.#lines.at(-1)! : NOW).then(() => undefined);
    for (const [i, program] of programs.entries()) {
      const ring = this.#rings[i];
      const { gpu, x } = this.#stages[i]!;
      const submitted = Promise.all([arriving, this.#lines[i]]).then(async ([rows]) => {
        await ring?.room();
        if (rows) gpu.memory.write(x.buffer, 0, rows as Uint32Array<ArrayBuffer>);
        const run = (copy: RunOptions["tail"]) => DIRECT.run([program], step, { tail: copy });
        if (ring) return ring.submit(bindingOf(x.buffer).buffer, run, step.units * x.width * 4);
        run(tail);
        return undefined;
      });
      submitted.catch(() => {}); // told to whoever waits for the last stage
      this.#lines[i] = submitted;
      arriving = submitted.then((ticket) => ticket?.words);
    }
    const done = arriving.then(() => {});
    done.catch(() => {}); // told by what comes behind it, too
    return done;
  }

  behind(work: () => void): Promise<void> {
    const line = this.#lines.at(-1)!.then(work);
    line.catch(() => {}); // as above
    this.#lines[this.#lines.length - 1] = line;
    return line;
  }

  async entered(): Promise<void> {
    await this.#lines[0];
  }

  async idle(): Promise<void> {
    await Promise.all(this.#lines);
  }
}
