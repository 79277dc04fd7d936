// Matrix times few rows in q8 or q4 for CPU adapters whose subgroups have a fixed size: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue
// (lib/matmul). There a load costs by its 32-bit words and lane by lane, and a broadcast next to nothing. So in a workgroup of one
// subgroup a lane makes COLUMNS columns of ROWS rows, two groups of 32 at a time: the lanes bring x side by side and hand it round, then
// take column by column, in a loop of one short round each (written out, compilers put all loads first and spill them). What costs most is
// making floats of codes: they serve all the rows.
// Needs: ROWS, COLUMNS (even), K a multiple of 32, EVEN: whether of 64; libs matmul and its own, prologue.*, group.* (instead of weight.*),
// lanes.*, the extension subgroups.
// Limits: LANES invocations, 7 storage bindings. Reference: reference/matmul.

// What a lane brings of a group's x, and the sum of the whole.
fn bring(row: u32, group: u32, lane: u32, a: ptr<function, array<vec4<f32>, BRINGS>>, squares: ptr<function, f32>) -> f32 {
  let there = EVEN || 8u * group < p.quads; // the second of two groups may lie past the end
  var sum = 0.0;
  for (var i = 0u; i < BRINGS; i++) {
    let k = select(0u, 8u * group, there) + i * LANES + lane;
    let own = select(vec4<f32>(), x[row * p.quads + k], there);
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

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let rows = row_count();
  let row = id.y * ROWS;
  let column = (id.x * LANES + lane) * COLUMNS;
  let groups = p.quads / 8u;
  var products: array<f32, ROWS * COLUMNS>;
  var squares: array<f32, ROWS>;
  for (var group = 0u; group < groups; group += 2u) {
    var first: array<array<vec4<f32>, 8>, ROWS>;
    var second: array<array<vec4<f32>, 8>, ROWS>;
    var first_sums: array<f32, ROWS>;
    var second_sums: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
      // Rows past the end repeat the last one; they are not stored.
      let from_row = min(row + r, rows - 1u);
      var square = 0.0;
      var a: array<vec4<f32>, BRINGS>;
      first_sums[r] = bring(from_row, group, lane, &a, &square);
      first[r] = hand_round(&a);
      second_sums[r] = bring(from_row, group + 1u, lane, &a, &square);
      second[r] = hand_round(&a);
      squares[r] += square;
    }
    for (var c = 0u; c < p.rounds; c++) {
      // Columns past the end repeat the last one; they are not stored.
      let at = weight_row(min(column + c, p.n - 1u)) * groups + group;
      let both = EVEN || group + 1u < groups;
      let scale = scale_pair(at, both);
      let low = group_products(at, &first, &first_sums);
      let high = group_products(select(at, at + 1u, both), &second, &second_sums);
      for (var r = 0u; r < ROWS; r++) {
        let product = dot(scale, vec2<f32>(low[r], high[r]));
        for (var i = 0u; i < COLUMNS; i++) {
          products[r * COLUMNS + i] += select(0.0, product, i == c);
        }
      }
    }
  }
  if (NORM) {
    for (var r = 0u; r < ROWS; r++) {
      let factor = norm_factor(sum_of_lanes(squares[r]));
      for (var c = 0u; c < COLUMNS; c++) {
        products[r * COLUMNS + c] *= factor;
      }
    }
  }
  // One copy of the epilogue, in a loop whose end is known at run time only: copies cost seconds of compilation.
  var results = products;
  let end = min(ROWS, rows - row) * p.rounds;
  for (var i = 0u; i < end; i += 2u) {
    let c = column + i % COLUMNS;
    if (c < p.n) {
      store_pair(row + i / COLUMNS, c, vec2<f32>(results[i], results[i + 1u]));
    }
  }
}
