/** What may follow the ids of an answer so far. */
export interface Allowed {
  /** Ids of which each is what must come, in their order; the answer ends with them where the last is a stop id. */
  forced: readonly number[];
  /** What may come behind them: a bit an id, u32 [ceil(vocabulary / 32)]. */
  mask: Uint32Array<ArrayBuffer>;
}

/** What an answer may be, id by id. It belongs to one answer. */
export interface Constraint {
  /**
   * Takes the id that was chosen (none where the answer begins) and says what may follow; forced ids count as taken.
   *
   * @param force whether to look for forced ids
   */
  advance(id: number | undefined, force: boolean): Promise<Allowed>;
}
