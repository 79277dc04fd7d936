/** Rows of `table` [vocabulary, width] by id, or of `visual` where bit 31 of the id is set → [ids, width]. */
export function embed(ids: Uint32Array, table: Float32Array, visual: Float32Array, width: number): Float32Array {
  const out = new Float32Array(ids.length * width);
  for (const [i, id] of ids.entries()) {
    const row = id & 0x7fffffff;
    out.set((id >= 0x80000000 ? visual : table).subarray(row * width, (row + 1) * width), i * width);
  }
  return out;
}
