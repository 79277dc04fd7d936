import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Program, Programs, RunOptions, Step } from "../gpu/program.ts";
import { ReadRing } from "../gpu/ring.ts";
import { type Activation, bindingOf } from "../tensor/tensor.ts";

/** Layers `start` … `end - 1` of the decoder, on one of the devices. */
export interface Part {
  device: number;
  start: number;
  end: number;
}

/** A part with what its device needs for it. */
export interface Stage extends Part {
  gpu: Gpu;
  programs: Programs;
  rope: GPUBuffer; // (cos, sin) [maxContext, headDim / 2]
  x: Activation; // [chunk, H]: the residual stream
}

/**
 * The decoder's layers over devices, as the model card's `split_model` has it: by their memory, of which the first counts half, since it has
 * the vision tower, the embedding and the head; and the last layer, so that a token comes back to where it is chosen.
 *
 * @param memory of each device, in any unit
 * @throws EngineError bad-input for more devices than layers
 */
export function splitLayers(layers: number, memory: readonly number[]): Part[] {
  const devices = memory.length;
  if (devices === 1) return [{ device: 0, start: 0, end: layers }];
  if (devices > layers) {
    throw new EngineError("bad-input", `devices has ${devices}, this decoder has ${layers} layers`, {
      hint: "give at most one for each layer",
    });
  }
  const shares = memory.map((each, i) => (i === 0 ? each / 2 : each));
  const all = shares.reduce((sum, share) => sum + share, 0);
  let [start, sum] = [0, 0];
  const parts = shares.map((share, device) => {
    sum += share;
    const others = devices - 1 - device; // each of them has a layer at least
    const least = device === 0 ? 0 : start + 1;
    const end = Math.min(layers - 1 - others, Math.max(least, Math.ceil((layers * sum) / all)));
    const part = { device, start, end };
    start = end;
    return part;
  });
  return [...parts, { device: 0, start, end: layers }];
}

/** How many layers a device has. */
export const layersOn = (gpu: Gpu, stages: readonly Stage[]): number =>
  stages.reduce((sum, each) => sum + (each.gpu === gpu ? each.end - each.start : 0), 0);

/** How the steps of a decoder run: what is asked for is done in that order, and nothing is waited for but on other devices. */
export interface Order {
  /**
   * Runs a step, a program for each stage. `chosen`: of the ids that the step before has chosen.
   * @returns when it is submitted, where it is not at once
   */
  run(programs: readonly Program[], step: Step, options?: RunOptions & { chosen?: boolean }): Promise<void> | undefined;
  /** Does something in the last stage, behind all that was asked for. */
  behind(work: () => void): Promise<void> | undefined;
  /** Waits until the first stage of all that was asked for is submitted: what it reads may be written anew. */
  entered(): Promise<void>;
  /** Waits until all that was asked for is submitted. @throws EngineError device-lost */
  idle(): Promise<void>;
}

const NOW = Promise.resolve();

/** Of one device: its queue keeps the order. */
export const DIRECT: Order = {
  run([program], step, options) {
    program!.run(step, options);
    return undefined;
  },
  behind(work) {
    work();
    return undefined;
  },
  entered: () => NOW,
  idle: () => NOW,
};

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
      i < stages.length - 1 ? new ReadRing(gpu, DEPTH, bindingOf(x.buffer).buffer.size) : undefined,
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
