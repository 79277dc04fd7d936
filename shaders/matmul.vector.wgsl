// Matrix times vector: y[m, n] = Σ_k x[m, k] · w[n, k] for few rows, then the epilogue (lib/matmul).
// A workgroup of 64 threads makes 4 elements of one row: its threads stride along K together, then add up in workgroup memory.
// Needs: K a multiple of 4; lib matmul and its own.
// Limits: 64 invocations, 1 KiB of workgroup memory, 5 storage bindings. Reference: reference/matmul.

const THREADS = 64u;

var<workgroup> sums: array<vec4<f32>, 64>;

fn at(column: u32) -> u32 {
  return min(column, p.n - 1u) * p.quads;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.y;
  let column = group.x * 4u;
  let w0 = at(column);
  let w1 = at(column + 1u);
  let w2 = at(column + 2u);
  let w3 = at(column + 3u);
  var sum = vec4<f32>();
  for (var k = index; k < p.quads; k += THREADS) {
    let a = x[row * p.quads + k];
    sum += vec4<f32>(dot(a, weight(w0 + k)), dot(a, weight(w1 + k)), dot(a, weight(w2 + k)), dot(a, weight(w3 + k)));
  }
  sums[index] = sum;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      sums[index] += sums[index + half];
    }
    workgroupBarrier();
  }
  if (index < 4u && column + index < p.n) {
    store(row, p.column + column + index, sums[0][index]);
  }
}
