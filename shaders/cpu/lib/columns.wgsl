// What matmul.gemv_columns and matmul.gemm_rows4 share: how the lanes bring x, and the scales of two groups.
// Needs: EVEN; libs matmul, prologue.*, group.*, lanes.*.

// What a lane brings of a group's x, and the sum of the whole.
fn bring(row: u32, group: u32, lane: u32, a: ptr<function, array<vec4<f32>, BRINGS>>, squares: ptr<function, f32>) -> f32 {
  let there = EVEN || 8u * group < p.vec4s; // the second of two groups may lie past the end
  var sum = 0.0;
  for (var i = 0u; i < BRINGS; i++) {
    let k = select(0u, 8u * group, there) + i * LANES + lane;
    let own = select(vec4<f32>(), x[row * p.vec4s + k], there);
    if (NORM) {
      *squares += dot(own, own);
    }
    let brought = gained(own, gain_at(k));
    sum += dot(brought, vec4<f32>(1.0));
    (*a)[i] = brought * code_factors(i * LANES + lane);
  }
  return sum_of_lanes(sum);
}

// Of groups `group` and `group` + 1, which share a word or lie in two; 0 for the second where it is not of this row.
fn scale_pair(group: u32, both: bool) -> vec2<f32> {
  var pair = unpack2x16float(scales[group / 2u]);
  if (!EVEN && group % 2u == 1u) {
    pair = vec2<f32>(pair.y, unpack2x16float(scales[min(group / 2u + 1u, arrayLength(&scales) - 1u)]).x);
  }
  return vec2<f32>(pair.x, select(0.0, pair.y, both));
}
