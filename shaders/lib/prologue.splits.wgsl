// What decode attention left of its only row, put together in front of the out-projection (matmul.gemv with ROWS = 1), by every workgroup for
// itself: x = Σ e_s part_s / Σ e_s sum_s, e_s = exp(max_s - the largest of them), as attention.combine does it where there are more than FEW
// splits. One split is complete in x.
//   parts: as lib/decode says
// Needs: K, HEAD (D / 4), SPLIT_KEYS, FEW; p.rounds, the splits that parts has room for; libs step, splits, matmul. 4 K (FEW / D + 1) bytes of workgroup memory.
const NORM = false;
const HEADS = K / (4u * HEAD);
@group(0) @binding(8) var<storage, read> parts: array<vec4<f32>>;
var<workgroup> whole: array<vec4<f32>, K / 4u>;
var<workgroup> weights: array<f32, HEADS * FEW>;

fn prepare(index: u32, threads: u32) {
  let keys = position_of(0u) + 1u;
  let used = (keys - 1u) / split_keys_of(keys, SPLIT_KEYS, p.rounds, FEW) + 1u;
  let apart = used > 1u && used <= FEW;
  for (var h = index; h < select(0u, HEADS, apart); h += threads) {
    var ends: array<vec4<f32>, FEW>; // maxima and sums
    var high = -3.0e38;
    for (var s = 0u; s < FEW; s++) { // a constant number of loads, which do not wait for each other
      ends[s] = parts[(h * p.rounds + min(s, used - 1u)) * (HEAD + 1u) + HEAD];
      high = max(high, ends[s].x);
    }
    var sum = 0.0;
    for (var s = 0u; s < FEW; s++) {
      ends[s].x = select(0.0, exp(ends[s].x - high), s < used);
      sum += ends[s].x * ends[s].y;
    }
    for (var s = 0u; s < FEW; s++) {
      weights[h * FEW + s] = ends[s].x / sum;
    }
  }
  workgroupBarrier();
  for (var i = index; i < K / 4u; i += threads) {
    var value = vec4<f32>();
    if (apart) {
      let first = (i / HEAD * p.rounds) * (HEAD + 1u) + i % HEAD;
      for (var s = 0u; s < FEW; s++) {
        value += weights[i / HEAD * FEW + s] * parts[first + min(s, used - 1u) * (HEAD + 1u)];
      }
    } else {
      value = x[i];
    }
    whole[i] = value;
  }
  workgroupBarrier();
}

fn x_at(i: u32) -> vec4<f32> {
  return whole[i];
}

fn gain_at(k: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

fn gained(a: vec4<f32>, gain: vec4<f32>) -> vec4<f32> {
  return a;
}
