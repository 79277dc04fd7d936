/** Where component i of key or value j stands in an array. */
export type Place = (j: number, i: number) => number;

/** softmax(q · kᵀ / √d) · v for one query q [d] over `count` keys and values → [d]. */
export function attention(
  q: Float32Array,
  count: number,
  keys: { data: Float32Array; at: Place },
  values: { data: Float32Array; at: Place },
): Float64Array {
  const d = q.length;
  const weights = new Float64Array(count);
  let rowMax = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < count; j++) {
    let s = 0;
    for (let i = 0; i < d; i++) s += q[i]! * keys.data[keys.at(j, i)]!;
    weights[j] = s / Math.sqrt(d);
    rowMax = Math.max(rowMax, weights[j]!);
  }
  let sum = 0;
  for (let j = 0; j < count; j++) sum += weights[j] = Math.exp(weights[j]! - rowMax);
  const out = new Float64Array(d);
  for (let j = 0; j < count; j++) for (let i = 0; i < d; i++) out[i]! += (weights[j]! / sum) * values.data[values.at(j, i)]!;
  return out;
}
