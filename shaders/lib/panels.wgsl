// What the kernels for CPU adapters with subgroups of 8 share that multiply panels: a tile of 32 rows × 64 columns by one subgroup.
// There loads cost most: lane by lane, by branches, and badly where rows lie a power of two apart, since a few lines of the cache then take
// them all. So panels are read from front to back, and 12 loads a step along K feed a large tile. All loads stand before all sums: their
// branches are dear among sums that are not finished.
//   x: panel of 32 rows [quads, 32] of vec4s along K: row i at i   w: panel of 64 columns [quads, 64]: column 8 (i % 8) + i / 8 at i
// Lane l makes columns 8l .. 8l + 7 of all rows. Needs: subgroups of exactly 8 lanes, the extension subgroups; x and w of vec4<f32>.
const ROWS = 32u;
const COLUMNS = 64u;

// One row of the tile: a lane's eight columns.
fn accumulate(a: vec4<f32>, b: ptr<function, array<vec4<f32>, 8>>, c: ptr<function, array<f32, 8>>) {
  (*c)[0] += dot(a, (*b)[0]);
  (*c)[1] += dot(a, (*b)[1]);
  (*c)[2] += dot(a, (*b)[2]);
  (*c)[3] += dot(a, (*b)[3]);
  (*c)[4] += dot(a, (*b)[4]);
  (*c)[5] += dot(a, (*b)[5]);
  (*c)[6] += dot(a, (*b)[6]);
  (*c)[7] += dot(a, (*b)[7]);
}

// The tile of the panels that begin at x_from and w_from.
fn tile(x_from: u32, w_from: u32, quads: u32, lane: u32) -> array<array<f32, 8>, ROWS> {
  var c0: array<f32, 8>;
  var c1: array<f32, 8>;
  var c2: array<f32, 8>;
  var c3: array<f32, 8>;
  var c4: array<f32, 8>;
  var c5: array<f32, 8>;
  var c6: array<f32, 8>;
  var c7: array<f32, 8>;
  var c8: array<f32, 8>;
  var c9: array<f32, 8>;
  var c10: array<f32, 8>;
  var c11: array<f32, 8>;
  var c12: array<f32, 8>;
  var c13: array<f32, 8>;
  var c14: array<f32, 8>;
  var c15: array<f32, 8>;
  var c16: array<f32, 8>;
  var c17: array<f32, 8>;
  var c18: array<f32, 8>;
  var c19: array<f32, 8>;
  var c20: array<f32, 8>;
  var c21: array<f32, 8>;
  var c22: array<f32, 8>;
  var c23: array<f32, 8>;
  var c24: array<f32, 8>;
  var c25: array<f32, 8>;
  var c26: array<f32, 8>;
  var c27: array<f32, 8>;
  var c28: array<f32, 8>;
  var c29: array<f32, 8>;
  var c30: array<f32, 8>;
  var c31: array<f32, 8>;
  var x_at = x_from + lane;
  var w_at = w_from + lane;
  for (var k = 0u; k < quads; k++) {
    let a0 = x[x_at];
    let a1 = x[x_at + 8u];
    let a2 = x[x_at + 16u];
    let a3 = x[x_at + 24u];
    var b = array<vec4<f32>, 8>(
      w[w_at],
      w[w_at + 8u],
      w[w_at + 16u],
      w[w_at + 24u],
      w[w_at + 32u],
      w[w_at + 40u],
      w[w_at + 48u],
      w[w_at + 56u],
    );
    x_at += ROWS;
    w_at += COLUMNS;
    accumulate(subgroupBroadcast(a0, 0u), &b, &c0);
    accumulate(subgroupBroadcast(a0, 1u), &b, &c1);
    accumulate(subgroupBroadcast(a0, 2u), &b, &c2);
    accumulate(subgroupBroadcast(a0, 3u), &b, &c3);
    accumulate(subgroupBroadcast(a0, 4u), &b, &c4);
    accumulate(subgroupBroadcast(a0, 5u), &b, &c5);
    accumulate(subgroupBroadcast(a0, 6u), &b, &c6);
    accumulate(subgroupBroadcast(a0, 7u), &b, &c7);
    accumulate(subgroupBroadcast(a1, 0u), &b, &c8);
    accumulate(subgroupBroadcast(a1, 1u), &b, &c9);
    accumulate(subgroupBroadcast(a1, 2u), &b, &c10);
    accumulate(subgroupBroadcast(a1, 3u), &b, &c11);
    accumulate(subgroupBroadcast(a1, 4u), &b, &c12);
    accumulate(subgroupBroadcast(a1, 5u), &b, &c13);
    accumulate(subgroupBroadcast(a1, 6u), &b, &c14);
    accumulate(subgroupBroadcast(a1, 7u), &b, &c15);
    accumulate(subgroupBroadcast(a2, 0u), &b, &c16);
    accumulate(subgroupBroadcast(a2, 1u), &b, &c17);
    accumulate(subgroupBroadcast(a2, 2u), &b, &c18);
    accumulate(subgroupBroadcast(a2, 3u), &b, &c19);
    accumulate(subgroupBroadcast(a2, 4u), &b, &c20);
    accumulate(subgroupBroadcast(a2, 5u), &b, &c21);
    accumulate(subgroupBroadcast(a2, 6u), &b, &c22);
    accumulate(subgroupBroadcast(a2, 7u), &b, &c23);
    accumulate(subgroupBroadcast(a3, 0u), &b, &c24);
    accumulate(subgroupBroadcast(a3, 1u), &b, &c25);
    accumulate(subgroupBroadcast(a3, 2u), &b, &c26);
    accumulate(subgroupBroadcast(a3, 3u), &b, &c27);
    accumulate(subgroupBroadcast(a3, 4u), &b, &c28);
    accumulate(subgroupBroadcast(a3, 5u), &b, &c29);
    accumulate(subgroupBroadcast(a3, 6u), &b, &c30);
    accumulate(subgroupBroadcast(a3, 7u), &b, &c31);
  }
  return array<array<f32, 8>, ROWS>(
    c0, c1, c2, c3, c4, c5, c6, c7,
    c8, c9, c10, c11, c12, c13, c14, c15,
    c16, c17, c18, c19, c20, c21, c22, c23,
    c24, c25, c26, c27, c28, c29, c30, c31,
  );
}
