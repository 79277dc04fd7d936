// x in 8 bits for matmul.gemm_dot4: in every group of 32 along K, scale = max |x| / 127 and code = round(x / scale), in [-127, 127].
//   x: f32 [rows, K]   codes: u32 [rows, K / 4], four codes each   scales: f32 [rows, K / 32]
// Workgroup (64 groups of 32 of a row, row), a thread a group. Needs: K a multiple of 32; lib step. Limits: 64 invocations.
// Reference: reference/matmul
struct Params {
  groups: u32, // K / 32
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.groups) {
    return;
  }
  let group = id.y * p.groups + id.x;
  var peaks = vec4<f32>();
  for (var i = 0u; i < 8u; i++) {
    peaks = max(peaks, abs(x[8u * group + i]));
  }
  let peak = max(max(peaks.x, peaks.y), max(peaks.z, peaks.w));
  scales[group] = peak / 127.0;
  let inverse = select(0.0, 127.0 / peak, peak > 1e-30); // a group this small counts as zero
  for (var i = 0u; i < 8u; i++) {
    codes[8u * group + i] = pack4xI8(clamp(vec4<i32>(round(x[8u * group + i] * inverse)), vec4<i32>(-127), vec4<i32>(127)));
  }
}
