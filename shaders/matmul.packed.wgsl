// Matrix product of 8-bit activations (matmul.quantize) and q8 or q4 weights, tiled:
//   y[m, n] = Σ_groups scale_x[m, g] · scale_w[n, g] · Σ_k code_x[m, k] · code_w[n, k], then the epilogue (lib/matmul).
// The inner sum of a group of 32 is exact, eight dot4I8Packed. A workgroup of 16 × 16 threads makes a tile of 64 × 64; a thread the
// 4 × 4 elements (ty + 16i, 4tx + j); column 4tx + j lies in row tx + 16j of the slice. A slice is one group along K.
// Needs: K a multiple of 32; libs matmul (x is bound twice there: codes at 8, their scales at 9), tile, weight.*, codes.*.
// Limits: 256 invocations, 7 KiB of workgroup memory, 7 storage bindings. Reference: reference/matmul.
@group(0) @binding(8) var<storage, read> x_codes: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> x_scales: array<f32>;

const TILE = 64u;
const PITCH = 3u; // vec4s of 16 codes, one more than a group has: neighbouring rows start in different banks

var<workgroup> xs: array<vec4<u32>, 192>;
var<workgroup> ws: array<vec4<u32>, 192>;
var<workgroup> x_scale: array<f32, 64>;
var<workgroup> w_scale: array<f32, 64>;

fn products(a0: vec4<u32>, a1: vec4<u32>, b0: vec4<u32>, b1: vec4<u32>) -> f32 {
  return f32(dot4I8Packed(a0.x, b0.x) + dot4I8Packed(a0.y, b0.y) + dot4I8Packed(a0.z, b0.z) + dot4I8Packed(a0.w, b0.w)
    + dot4I8Packed(a1.x, b1.x) + dot4I8Packed(a1.y, b1.y) + dot4I8Packed(a1.z, b1.z) + dot4I8Packed(a1.w, b1.w));
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let rows = row_count();
  let row0 = group.y * TILE;
  let column0 = group.x * TILE;
  let groups = p.quads / 8u;
  // A thread of the first half brings half a group of a row of x, one of the second half of w, and every other one a scale.
  // Rows and columns past the end repeat the last one; they are not stored.
  let at = (index & 127u) >> 1u;
  let half = index & 1u;
  let x_row = min(row0 + at, rows - 1u) * groups;
  let w_row = weight_row(min(column0 + 4u * (at & 15u) + (at >> 4u), p.n - 1u)) * groups;
  var sums: array<vec4<f32>, 4>;
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
    let scale = vec4<f32>(w_scale[local.x], w_scale[local.x + 16u], w_scale[local.x + 32u], w_scale[local.x + 48u]);
    let b = local.x * PITCH;
    for (var i = 0u; i < 4u; i++) {
      let a0 = xs[(local.y + 16u * i) * PITCH];
      let a1 = xs[(local.y + 16u * i) * PITCH + 1u];
      sums[i] += x_scale[local.y + 16u * i] * scale * vec4<f32>(
        products(a0, a1, ws[b], ws[b + 1u]),
        products(a0, a1, ws[b + 16u * PITCH], ws[b + 16u * PITCH + 1u]),
        products(a0, a1, ws[b + 32u * PITCH], ws[b + 32u * PITCH + 1u]),
        products(a0, a1, ws[b + 48u * PITCH], ws[b + 48u * PITCH + 1u]),
      );
    }
  }
  for (var i = 0u; i < 4u; i++) {
    let row = row0 + local.y + 16u * i;
    if (row < rows) {
      store_quad(row, column0 + 4u * local.x, sums[i]);
    }
  }
}
