import type { Allowed } from "./constraint.ts";
import type { StepTicket, Told } from "./engine.ts";
import type { GenerateRequest, Usage } from "./request.ts";
import type { Slot } from "./slots.ts";

/** Takes a new id, and how probable it was where the request asks for that; true when the answer ends with it. */
export type Accept = (id: number, told?: Told) => boolean;

/** A request that waits, or is answered. */
export interface Job {
  readonly request: GenerateRequest;
  readonly accept: Accept;
  /** The position behind the last id that the answer may have. */
  readonly end: number;
  readonly ids: number[];
  slot: Slot<Job> | undefined;
  /** Where its last id goes in at the next decode step; undefined while it waits, and while its prompt is prefilled. */
  position: number | undefined;
  /** Of an answer with a constraint: what its next id may be; undefined while its last id is on its way, and while that is being found. */
  allowed: Allowed | undefined;
  usage: Usage;
  finished: boolean;
  settle(outcome: { error: unknown } | undefined): void;
}

/** A prompt on its way into a slot's cache. */
export interface Prefill {
  job: Job;
  pieces: AsyncGenerator<number, void>;
  /** Positions that are in the cache. */
  at: number;
}

/** A step on its way: whose ids come back, by slot. */
export interface Flight {
  ticket: StepTicket;
  jobs: readonly (Job | undefined)[];
}

/** Work that needs the model alone. */
export interface Guest {
  run(): Promise<void>;
  settle(outcome: { error: unknown }): void;
}
