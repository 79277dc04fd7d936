// Matrix times vector in q8 or q4 for CPU adapters whose subgroups have a fixed size: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue
// (lib/matmul). There a load costs lane by lane, whether the lanes' addresses differ or not, and a broadcast next to nothing. So in a
// workgroup of one subgroup a lane makes 2 columns, group by group of 32: the lanes bring x side by side and hand it round; every word
// of the weights and every scale is read once, and a sum of codes is scaled once.
// Needs: K a multiple of 32; libs matmul and its own, prologue.*, group.*, lanes.*, the extension subgroups.
// Limits: LANES invocations, 7 storage bindings. Reference: reference/matmul.

fn add_group(a: ptr<function, array<vec4<f32>, BRINGS>>, group: u32) -> f32 {
  var codes: array<vec4<f32>, 8>;
  group_codes(group, &codes);
  return group_scale(group) * product_of_8(a, &codes);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = id.y;
  let column = (id.x * LANES + lane) * 2u;
  let groups = p.quads / 8u;
  // Columns past the end repeat the last one; they are not stored.
  let w0 = weight_row(min(column, p.n - 1u)) * groups;
  let w1 = weight_row(min(column + 1u, p.n - 1u)) * groups;
  var products = vec2<f32>();
  var squares = 0.0;
  for (var group = 0u; group < groups; group++) {
    var a: array<vec4<f32>, BRINGS>;
    for (var i = 0u; i < BRINGS; i++) {
      let k = 8u * group + i * LANES + lane;
      let own = x[row * p.quads + k];
      if (NORM) {
        squares += dot(own, own);
      }
      a[i] = gained(own, gain_at(k));
    }
    products += vec2<f32>(add_group(&a, w0 + group), add_group(&a, w1 + group));
  }
  if (NORM) {
    products *= norm_factor(subgroupAdd(squares));
  }
  if (column < p.n) {
    store_pair(row, column, products);
  }
}
