/** What the engine has done on a device since it was opened: differences of two snapshots tell what a token or a request costs. */
export interface Counters {
  /** Command buffers with work, readbacks not counted. */
  submits: number;
  dispatches: number;
  bindGroups: number;
  buffers: number;
  pipelines: number;
  /**
   * Times the CPU waited for a result with nothing else queued for the GPU: the GPU then idles until the CPU is back. Ids that come
   * through the ring while later steps are queued do not count.
   */
  awaitedReadbacks: number;
  /** Decode steps submitted, those that a stop token made useless included. */
  decodeSteps: number;
  /** Tiles run through the vision tower. */
  tiles: number;
  /** Milliseconds of CPU in encoding and submitting programs, and in taking ids from the ring. */
  cpuMs: number;
}

export const newCounters = (): Counters => ({
  submits: 0,
  dispatches: 0,
  bindGroups: 0,
  buffers: 0,
  pipelines: 0,
  awaitedReadbacks: 0,
  decodeSteps: 0,
  tiles: 0,
  cpuMs: 0,
});
