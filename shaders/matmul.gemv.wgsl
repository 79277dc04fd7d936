// Matrix times few rows: y[m, n] = Σ_k x[m, k] · w[n, k], then the epilogue (lib/matmul).
// A team of WIDTH threads makes 4 columns of ROWS rows (at most WIDTH): it strides along K, each thread a block of 16 bytes of weights at a
// time, so the weights are read once for all the rows; then its threads' sums are added up by one of lib/combine.*, which says too what a
// team is. With a norm in front (prologue.norm) the squares of the rows are added up as COUNT - ROWS further sums, four rows to a vec4.
// A value of w is (code - OFFSET) * scale. For up to 2 rows what the codes give is scaled, with OFFSET Σ x taken off; for more the codes are.
// Needs: ROWS, WIDTH, TEAMS; libs matmul, prologue.*, combine.*, block.*, maxima.*. Limits: WIDTH TEAMS invocations, 8 storage bindings, and
// what combine needs. Reference: reference/matmul.

const COUNT = ROWS + select(0u, (ROWS + 3u) / 4u, NORM);
const LATE = SCALED && ROWS <= 2u;

fn at(column: u32) -> u32 {
  return weight_row(min(column, p.n - 1u)) * (p.vec4s / VEC4S);
}

// s + a · b, as a chain that needs no addition of its own.
fn add_dot(s: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
  return s + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}

fn add_dots(s: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
  return vec4<f32>(add_dot(s.x, a, b[0]), add_dot(s.y, a, b[1]), add_dot(s.z, a, b[2]), add_dot(s.w, a, b[3]));
}

// The epilogue of the columns v .. v + 3 of a row, those below n. What it reads is asked for together, before anything is written.
fn store_columns(row: u32, v: u32, products: vec4<f32>) {
  let c = p.column + v;
  let at = row * p.out_stride + c;
  if (is_on(SWIGLU | GELU) || v + 4u > p.n) {
    for (var j = 0u; j < 4u && v + j < p.n; j += 2u) {
      store_pair(row, v + j, select(products.xy, products.zw, j == 2u));
    }
    return;
  }
  var out = products;
  if (is_on(BIAS)) {
    out += vec4<f32>(bias[c], bias[c + 1u], bias[c + 2u], bias[c + 3u]);
  }
  if (is_on(SCALE)) {
    out *= vec4<f32>(scale[c], scale[c + 1u], scale[c + 2u], scale[c + 3u]);
  }
  if (is_on(RESIDUAL)) {
    out += vec4<f32>(y[at], y[at + 1u], y[at + 2u], y[at + 3u]);
  }
  y[at] = out.x;
  y[at + 1u] = out.y;
  y[at + 2u] = out.z;
  y[at + 3u] = out.w;
}

@compute @workgroup_size(WIDTH * TEAMS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  prepare(index, WIDTH * TEAMS);
  let rows = row_count();
  let row = group.y * ROWS;
  let lane = index % WIDTH;
  let team = team_of(index);
  let column = (group.x * TEAMS + team) * 4u;
  // Rows and columns past the end repeat the last one; they are not stored.
  var x_rows: array<u32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    x_rows[r] = min(row + r, rows - 1u) * p.vec4s;
  }
  let w_rows = vec4<u32>(at(column), at(column + 1u), at(column + 2u), at(column + 3u));
  let blocks = p.vec4s / VEC4S;
  var sums: array<vec4<f32>, COUNT>;
  var squares: array<f32, ROWS>;
  let rounds = select(0u, (blocks + WIDTH - 1u) / WIDTH, column < p.n);
  for (var round = rounds; round > 0u; round--) { // to 0: Dawn guards a loop whose end it cannot see
    let block = (rounds - round) * WIDTH + lane;
    if (block < blocks) {
      let at = w_rows + block;
      let c0 = codes_at(at.x);
      let c1 = codes_at(at.y);
      let c2 = codes_at(at.z);
      let c3 = codes_at(at.w);
      let scales = vec4<f32>(scale_at(at.x), scale_at(at.y), scale_at(at.z), scale_at(at.w));
      var early = array<vec4<f32>, ROWS>(); // without a value it would not be cleared in every round
      var totals = array<vec4<f32>, ROWS>();
      for (var e = 0u; e < VEC4S; e++) {
        var b = mat4x4<f32>(values(c0, e), values(c1, e), values(c2, e), values(c3, e));
        if (SCALED && !LATE) {
          for (var i = 0u; i < 4u; i++) {
            b[i] = fma(b[i], vec4<f32>(scales[i]), vec4<f32>(-OFFSET * scales[i])); // exact, as each of its steps is
          }
        }
        let k = block * VEC4S + e;
        let gain = gain_at(k);
        for (var r = 0u; r < ROWS; r++) {
          let own = x_at(x_rows[r] + k);
          if (NORM) {
            squares[r] = add_dot(squares[r], own, own);
          }
          let a = gained(own, gain);
          if (LATE) {
            totals[r] += a;
            early[r] = add_dots(early[r], a, b);
          } else {
            sums[r] = add_dots(sums[r], a, b);
          }
        }
      }
      if (LATE) {
        for (var r = 0u; r < ROWS; r++) {
          sums[r] += scales * (early[r] - OFFSET * dot(totals[r], vec4<f32>(1.0)));
        }
      }
    }
  }
  if (NORM) {
    for (var i = ROWS; i < COUNT; i++) {
      let r = (i - ROWS) * 4u;
      // Past the last row it is repeated; nobody asks for that one.
      let last = ROWS - 1u;
      sums[i] = vec4<f32>(squares[r], squares[min(r + 1u, last)], squares[min(r + 2u, last)], squares[min(r + 3u, last)]);
    }
  }
  combine(&sums, index);
  // Thread r stores row r.
  var total = vec4<f32>();
  if (lane < min(ROWS, rows - row) && column < p.n) {
    total = combined(&sums, lane);
    if (NORM) {
      total *= norm_factor(combined(&sums, ROWS + lane / 4u)[lane % 4u]);
    }
    store_columns(row + lane, column, total);
  }
  keep_maxima(group.x, team, lane, row, total);
}
