// Matrix product of 8-bit activations (matmul.quantize) and q8 or q4 weights, tiled:
//   y[m, n] = Σ_groups scale_x[m, g] · scale_w[n, g] · Σ_k code_x[m, k] · code_w[n, k], then the epilogue (lib/matmul).
// The inner sum of a group of 32 is exact, eight dot4I8Packed. A workgroup of 16 × 16 threads makes a tile of 64 × 64; a thread the
// 4 × 4 elements (ty + 16i, 4tx + j); column 4tx + j lies in row tx + 16j of the slice. A slice is one group along K.
// Needs: K a multiple of 32; libs matmul (its x is not read; the codes are bound at 8, their scales at 9), tile, weight.*, codes.*.
// Limits: 256 invocations, 7 KiB of workgroup memory, 8 storage bindings. Reference: reference/matmul.
@group(0) @binding(8) var<storage, read> x_codes: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> x_scales: array<f32>;

const TILE = 64u;
const PITCH = 3u; // vec4s of 16 codes, one more than a group has: neighbouring rows start in different banks

var<workgroup> xs: array<vec4<u32>, 192>;
var<workgroup> ws: array<vec4<u32>, 192>;
var<workgroup> x_scale: array<f32, 64>;
var<workgroup> w_scale: array<f32, 64>;

fn products(a: vec4<u32>, b0: vec4<u32>, b1: vec4<u32>, b2: vec4<u32>, b3: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(product(a, b0), product(a, b1), product(a, b2), product(a, b3));
}

fn product(a: vec4<u32>, b: vec4<u32>) -> i32 {
  return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let local = vec2<u32>(index % 16u, index / 16u);
  let rows = row_count();
  let row0 = group.y * TILE;
  let column0 = group.x * TILE;
  let groups = p.vec4s / 8u;
  // A thread of the first half brings half a group of a row of x, one of the second half of w, and every other one a scale.
  // Rows and columns past the end repeat the last one; they are not stored.
  let at = (index & 127u) >> 1u;
  let half = index & 1u;
  let x_row = min(row0 + at, rows - 1u) * groups;
  let w_row = weight_row(min(column0 + 4u * (at & 15u) + (at >> 4u), p.n - 1u)) * groups;
  // Two halves, but the compiler must not know: on CPU adapters a dot4I8Packed is a dozen instructions, and copies take seconds.
  let halves = min(2u, p.vec4s);
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  for (var g = 0u; g < groups; g++) {
    workgroupBarrier();
    if (index < 128u) {
      xs[at * PITCH + half] = x_codes[2u * (x_row + g) + half];
      if (half == 0u) {
        x_scale[at] = x_scales[x_row + g];
      }
    } else {
      ws[at * PITCH + half] = codes_of(2u * (w_row + g) + half);
      if (half == 0u) {
        w_scale[at] = unpack2x16float(scales[(w_row + g) / 2u])[(w_row + g) % 2u];
      }
    }
    workgroupBarrier();
    var d0 = vec4<i32>();
    var d1 = vec4<i32>();
    var d2 = vec4<i32>();
    var d3 = vec4<i32>();
    for (var h = 0u; h < halves; h++) {
      let b = local.x * PITCH + h;
      let b0 = ws[b];
      let b1 = ws[b + 16u * PITCH];
      let b2 = ws[b + 32u * PITCH];
      let b3 = ws[b + 48u * PITCH];
      let a = local.y * PITCH + h;
      d0 += products(xs[a], b0, b1, b2, b3);
      d1 += products(xs[a + 16u * PITCH], b0, b1, b2, b3);
      d2 += products(xs[a + 32u * PITCH], b0, b1, b2, b3);
      d3 += products(xs[a + 48u * PITCH], b0, b1, b2, b3);
    }
    let scale = vec4<f32>(w_scale[local.x], w_scale[local.x + 16u], w_scale[local.x + 32u], w_scale[local.x + 48u]);
    c0 += x_scale[local.y] * scale * vec4<f32>(d0);
    c1 += x_scale[local.y + 16u] * scale * vec4<f32>(d1);
    c2 += x_scale[local.y + 32u] * scale * vec4<f32>(d2);
    c3 += x_scale[local.y + 48u] * scale * vec4<f32>(d3);
  }
  // One copy of the epilogue, likewise.
  var results = array<vec4<f32>, 4>(c0, c1, c2, c3);
  let end = min(4u, 4u * rows);
  for (var i = 0u; i < end; i++) {
    let row = row0 + local.y + 16u * i;
    if (row < rows) {
      store_vec4(row, column0 + 4u * local.x, results[i]);
    }
  }
}
