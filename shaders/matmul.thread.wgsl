// Matrix times vector for adapters that compute on the CPU: y[m, n] = Σ_k x[m, k] · w[n, k] for few rows, then the epilogue (lib/matmul).
// A thread makes one element and reads one row of w from end to end: no barrier, which is what costs most there.
// (On a GPU neighbouring threads would read far apart: matmul.vector is for those.)
// Needs: K a multiple of 4; lib matmul and its own.
// Limits: 64 invocations, 5 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.n) {
    return;
  }
  var sum = vec4<f32>();
  for (var k = 0u; k < p.quads; k++) {
    sum += x[id.y * p.quads + k] * weight(id.x * p.quads + k);
  }
  store(id.y, p.column + id.x, dot(sum, vec4<f32>(1.0)));
}
