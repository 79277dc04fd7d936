// Matrix times vector in q8 or q4 for CPU adapters whose subgroups have a fixed size: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue
// (lib/matmul). There a load costs by its 32-bit words and lane by lane, and a broadcast next to nothing. So in a workgroup of one
// subgroup a lane makes COLUMNS columns, two groups of 32 at a time: the lanes bring x side by side and hand it round, then take
// column by column, in a loop of one short round each (written out, compilers put all loads first and spill them).
// Needs: COLUMNS (even), K a multiple of 32, EVEN: whether of 64; libs matmul and its own, prologue.*, group.* (instead of weight.*),
// columns, lanes.*, the extension subgroups.
// Limits: LANES invocations, 7 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = id.y;
  let column = (id.x * LANES + lane) * COLUMNS;
  let groups = p.vec4s / 8u;
  var products: array<f32, COLUMNS>;
  var squares = 0.0;
  for (var group = 0u; group < groups; group += 2u) {
    var a: array<vec4<f32>, BRINGS>;
    var b: array<vec4<f32>, BRINGS>;
    let sums = vec2<f32>(bring(row, group, lane, &a, &squares), bring(row, group + 1u, lane, &b, &squares));
    var first: array<vec4<f32>, 8>;
    var second: array<vec4<f32>, 8>;
    hand_round(&a, &first);
    hand_round(&b, &second);
    for (var c = 0u; c < p.rounds; c++) {
      // Columns past the end repeat the last one; they are not stored.
      let at = weight_row(min(column + c, p.n - 1u)) * groups + group;
      let both = EVEN || group + 1u < groups;
      let next = select(at, at + 1u, both);
      let product = dot(scale_pair(at, both), vec2<f32>(codes_product(at, &first, sums.x), codes_product(next, &second, sums.y)));
      for (var i = 0u; i < COLUMNS; i++) {
        products[i] += select(0.0, product, i == c);
      }
    }
  }
  if (NORM) {
    let factor = norm_factor(sum_of_lanes(squares));
    for (var c = 0u; c < COLUMNS; c++) {
      products[c] *= factor;
    }
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = products;
  for (var c = 0u; c < p.rounds; c += 2u) {
    if (column + c < p.n) {
      store_pair(row, column + c, vec2<f32>(results[c], results[c + 1u]));
    }
  }
}
