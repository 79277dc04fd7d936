// Matrix times vector: y[m, n] = Σ_k x[m, k] · w[n, k] for few rows, then the epilogue (lib/epilogue).
//   x: f32 [rows, K]   w: [N, K] (rows COLUMN.. of the whole matrix)   y: f32 [rows, OUT_STRIDE]
// A workgroup of 64 threads makes 4 elements of one row: its threads stride along K together, then add up in workgroup memory.
// Needs: K (a multiple of 4), N, COLUMN, the switches of lib/epilogue; libs step, weight.*, epilogue.
// Limits: 64 invocations, 1 KiB of workgroup memory, 5 storage bindings. Reference: reference/matmul.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Quad>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const QUADS = K / 4u;
const THREADS = 64u;

var<workgroup> sums: array<vec4<f32>, 64>;

fn at(column: u32) -> u32 {
  return min(column, N - 1u) * QUADS;
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
  for (var k = index; k < QUADS; k += THREADS) {
    let a = x[row * QUADS + k];
    sum += vec4<f32>(dot(a, expand(w[w0 + k])), dot(a, expand(w[w1 + k])), dot(a, expand(w[w2 + k])), dot(a, expand(w[w3 + k])));
  }
  sums[index] = sum;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      sums[index] += sums[index + half];
    }
    workgroupBarrier();
  }
  if (index < 4u && column + index < N) {
    store(row, COLUMN + column + index, sums[0][index]);
  }
}
