import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Program, Programs, RunOptions, Step } from "../gpu/program.ts";
import type { Activation } from "../tensor/tensor.ts";

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

export const NOW = Promise.resolve();

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
