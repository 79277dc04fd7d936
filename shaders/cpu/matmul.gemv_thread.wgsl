// Matrix times vector for adapters that compute on the CPU: y[m, n] = Σ_k x[m, k] · w[n, k] for few rows, then the epilogue (lib/matmul).
// A thread makes a pair of elements and reads their rows of w from end to end: no barrier, which is what costs most there.
// (On a GPU neighbouring threads would read far apart: matmul.gemv is for those.)
// Needs: K a multiple of 4; libs matmul and its own, prologue.*.
// Limits: 64 invocations, 7 storage bindings. Reference: reference/matmul.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = 2u * id.x;
  if (column >= p.n) {
    return;
  }
  let w0 = weight_row(column) * p.vec4s;
  let w1 = weight_row(min(column + 1u, p.n - 1u)) * p.vec4s;
  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var squares = vec4<f32>();
  for (var k = 0u; k < p.vec4s; k++) {
    let own = x[id.y * p.vec4s + k];
    if (NORM) {
      squares += own * own;
    }
    let a = gained(own, gain_at(k));
    sum0 += a * weight(w0 + k);
    sum1 += a * weight(w1 + k);
  }
  var products = vec2<f32>(dot(sum0, vec4<f32>(1.0)), dot(sum1, vec4<f32>(1.0)));
  if (NORM) {
    products *= norm_factor(dot(squares, vec4<f32>(1.0)));
  }
  store_pair(id.y, column, products);
}
