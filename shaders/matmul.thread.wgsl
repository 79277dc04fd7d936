// Matrix times vector for adapters that compute on the CPU: y[m, n] = Σ_k x[m, k] · w[n, k] for few rows, then the epilogue (lib/epilogue).
//   x: f32 [rows, K]   w: [N, K] (rows COLUMN.. of the whole matrix)   y: f32 [rows, OUT_STRIDE]
// A thread makes one element and reads one row of w from end to end: no barrier, which is what costs most there.
// (On a GPU neighbouring threads would read far apart: matmul.vector is for those.)
// Needs: K (a multiple of 4), N, COLUMN, the switches of lib/epilogue; libs step, weight.*, epilogue.
// Limits: 64 invocations, 5 storage bindings. Reference: reference/matmul.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Quad>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const QUADS = K / 4u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= N) {
    return;
  }
  var sum = vec4<f32>();
  for (var k = 0u; k < QUADS; k++) {
    sum += x[id.y * QUADS + k] * expand(w[id.x * QUADS + k]);
  }
  store(id.y, COLUMN + id.x, dot(sum, vec4<f32>(1.0)));
}
