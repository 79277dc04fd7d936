/** What the engine has done on a device since it was opened: differences of two snapshots tell what a token or a request costs. */
export const newCounters = () => ({
  /** Command buffers with work, readbacks not counted. */
  submits: 0,
  dispatches: 0,
  bindGroups: 0,
  buffers: 0,
  pipelines: 0,
  /**
   * Times the CPU waited for a result with nothing else queued for the GPU: the GPU then idles until the CPU is back. Ids that come
   * through the ring while later steps are queued do not count.
   */
  awaitedReadbacks: 0,
  /** Decode steps submitted, those that a stop token made useless included. */
  decodeSteps: 0,
  /** Tiles run through the vision tower. */
  tiles: 0,
  /** Milliseconds of CPU in encoding and submitting programs, and in taking ids from the ring. */
  cpuMs: 0,
});

/** A device's counters. */
export type Counters = ReturnType<typeof newCounters>;
