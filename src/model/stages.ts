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

/** All layers on one device. */
export const onOne = (layers: number): Part[] => [{ device: 0, start: 0, end: layers }];

/** The part that has a layer. */
export const partOf = <P extends Part>(parts: readonly P[], layer: number): P => parts.find(({ end }) => layer < end)!;

/** How many layers a device has. */
export const layersOn = (device: number, parts: readonly Part[]): number =>
  parts.reduce((sum, each) => sum + (each.device === device ? each.end - each.start : 0), 0);

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

/** What there is to wait for where nothing is on its way. */
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
