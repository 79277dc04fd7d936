// What the kernels for CPU adapters with subgroups of 8 share that multiply panels: a tile of 16 rows × 64 columns by one subgroup.
// There loads cost most. So panels lie in texture storage (lib/texture) and are read from front to back, and 10 loads a step along K feed
// a large tile: the larger, the fewer loads for a sum, until the loop's code no longer fits the instruction cache.
//   x: panel of 16 rows [vec4s, 16] of vec4s along K: row i at i   w: panel of 64 columns [vec4s, 64]: column 8 (i % 8) + i / 8 at i
// Lane l makes columns 8l .. 8l + 7 of all rows. Needs: subgroups of exactly 8 lanes, the extension subgroups; lib texture; operand(a, i, k):
// what vec4 k of row 8 i + lane is to be multiplied as (lib operand.plain: as it is).
@group(0) @binding(2) var x_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var w_panels: texture_storage_2d<rgba32float, read>;

const ROWS = 16u;
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

fn x_vec4(at: u32) -> vec4<f32> {
  return textureLoad(x_panels, texture_at(at));
}

fn w_vec4(at: u32) -> vec4<f32> {
  return textureLoad(w_panels, texture_at(at));
}

// The tile of the panels that begin at x_from and w_from.
fn tile(x_from: u32, w_from: u32, vec4s: u32, lane: u32) -> array<array<f32, 8>, ROWS> {
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
  var x_at = x_from + lane;
  var w_at = w_from + lane;
  for (var k = 0u; k < vec4s; k++) {
    let a0 = operand(x_vec4(x_at), 0u, k);
    let a1 = operand(x_vec4(x_at + 8u), 1u, k);
    var b = array<vec4<f32>, 8>(
      w_vec4(w_at),
      w_vec4(w_at + 8u),
      w_vec4(w_at + 16u),
      w_vec4(w_at + 24u),
      w_vec4(w_at + 32u),
      w_vec4(w_at + 40u),
      w_vec4(w_at + 48u),
      w_vec4(w_at + 56u),
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
  }
  return array<array<f32, 8>, ROWS>(
    c0, c1, c2, c3, c4, c5, c6, c7,
    c8, c9, c10, c11, c12, c13, c14, c15,
  );
}
