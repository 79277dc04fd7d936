// Matrix times vector for adapters that compute on the CPU and have subgroups: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A subgroup makes 4 columns of a row. Its lanes stride along K side by side, 4 weights of each column at a time: wider loads come lane by lane.
// Sums are variables of their own: an array, as matmul.gemv has for several rows, stays in memory on SwiftShader.
// Needs: WIDTH, the size of every subgroup; K a multiple of 4; the extension subgroups; libs matmul, prologue.*.
// Limits: WIDTH invocations, 8 storage bindings. Reference: reference/matmul.

fn at(column: u32) -> u32 {
  return weight_row(min(column, p.n - 1u)) * p.vec4s;
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = 4u * group.x;
  let w_rows = vec4<u32>(at(column), at(column + 1u), at(column + 2u), at(column + 3u));
  var sum = vec4<f32>();
  var square = 0.0;
  for (var k = lane; k < p.vec4s; k += WIDTH) {
    let own = x[group.y * p.vec4s + k];
    if (NORM) {
      square += dot(own, own);
    }
    let a = gained(own, gain_at(k));
    sum += vec4<f32>(dot(a, weight(w_rows.x + k)), dot(a, weight(w_rows.y + k)), dot(a, weight(w_rows.z + k)), dot(a, weight(w_rows.w + k)));
  }
  var total = subgroupAdd(sum);
  if (NORM) {
    total *= norm_factor(subgroupAdd(square));
  }
  if (lane == 0u) {
    store_pair(group.y, column, total.xy);
    if (column + 2u < p.n) {
      store_pair(group.y, column + 2u, total.zw);
    }
  }
}
