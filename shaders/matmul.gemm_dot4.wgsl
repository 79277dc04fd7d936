// Matrix product of 8-bit activations (matmul.quantize) and q8 or q4 weights, tiled:
//   y[m, n] = Σ_groups scale_x[m, g] · scale_w[n, g] · Σ_k code_x[m, k] · code_w[n, k], then the epilogue (lib/gemm).
// The inner sum of a group of 32 is exact, eight dot4I8Packed. A workgroup of 16 × 16 threads makes a tile of TM × 64; a thread the
// elements (ty + 16i, 4tx + j); column 4tx + j lies in row tx + 16j of the slice. A slice is one group along K.
// Needs: TM, 64 or 128, EVEN (K is a multiple of 32); libs matmul (x are the codes here), share.q8 or share.q4, gemm.
// Limits: 256 invocations, 52 (TM + 64) bytes of workgroup memory, 8 storage bindings. Reference: reference/matmul.
@group(0) @binding(9) var<storage, read> x_scales: array<f32>;

const TN = 64u;
const RM = TM / 16u; // rows of a thread
const PITCH = 3u; // vec4s of 16 codes, one more than a group has: neighbouring rows start in different banks

var<workgroup> xs: array<vec4<u32>, TM * PITCH>;
var<workgroup> ws: array<vec4<u32>, TN * PITCH>;
var<workgroup> x_scale: array<f32, TM>;
var<workgroup> w_scale: array<f32, TN>;

fn dot16(a: vec4<u32>, b: vec4<u32>, c: i32) -> i32 {
  return c + dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let tx = index % 16u;
  let ty = index / 16u;
  let row0 = group.y * TM;
  let column0 = group.x * TN;
  let at = index / 2u; // this thread brings half a group of this row of either slice
  let half = index % 2u;
  // Rows and columns past the end repeat the last one; they are not stored.
  let x_row = min(row0 + at, row_count() - 1u) * p.vec4s;
  let w_row = row_at(weight_row(min(column0 + 4u * (at % 16u) + at / 16u % 4u, p.n - 1u)));
  let slices = slices_of(group.z, groups.z, 32u);
  var c: array<vec4<f32>, RM>;
  for (var t = slices.y; t > 0u; t--) {
    let k = 8u * (slices.x - t);
    workgroupBarrier();
    if (TM == 128u || index < 2u * TM) {
      xs[at * PITCH + half] = bitcast<vec4<u32>>(x[(x_row + k) / 4u + half]);
      x_scale[at] = x_scales[(x_row + k) / 8u]; // both halves the same
    }
    if (index < 2u * TN) {
      let raw = fetch(w_row, k / 4u + half);
      ws[at * PITCH + half] = signed_codes(raw);
      w_scale[at] = raw.scale;
    }
    workgroupBarrier();
    let scales = vec4<f32>(w_scale[tx], w_scale[tx + 16u], w_scale[tx + 32u], w_scale[tx + 48u]);
    var b: array<vec4<u32>, 8>;
    for (var j = 0u; j < 8u; j++) {
      b[j] = ws[(tx + j / 2u * 16u) * PITCH + j % 2u];
    }
    for (var i = 0u; i < RM; i++) {
      let lo = xs[(ty + 16u * i) * PITCH];
      let hi = xs[(ty + 16u * i) * PITCH + 1u];
      var sums: vec4<i32>;
      for (var j = 0u; j < 4u; j++) {
        sums[j] = dot16(hi, b[2u * j + 1u], dot16(lo, b[2u * j], 0));
      }
      c[i] = fma(x_scale[ty + 16u * i] * scales, vec4<f32>(sums), c[i]);
    }
  }
  // One copy of the epilogue in a loop that stays one; the results move up by one place each time, since an index would put them into memory.
  for (var t = rounds(RM); t > 0u; t--) {
    finish_vec4(row0 + ty + 16u * (RM - t), column0 + 4u * tx, c[0], group.z, groups.z);
    for (var i = 1u; i < RM; i++) {
      c[i - 1u] = c[i];
    }
  }
}
