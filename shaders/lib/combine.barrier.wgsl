// Adds up sums over the threads of a workgroup, WIDTH a power of two, without any extension. Thread r gets row r's.
// Needs: ROWS, WIDTH. 16 ROWS WIDTH bytes of workgroup memory.
var<workgroup> partial: array<vec4<f32>, ROWS * WIDTH>;

fn combine(sums: ptr<function, array<vec4<f32>, ROWS>>, index: u32) -> vec4<f32> {
  for (var r = 0u; r < ROWS; r++) {
    partial[r * WIDTH + index] = (*sums)[r];
  }
  workgroupBarrier();
  for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      for (var r = 0u; r < ROWS; r++) {
        partial[r * WIDTH + index] += partial[r * WIDTH + index + half];
      }
    }
    workgroupBarrier();
  }
  return partial[min(index, ROWS - 1u) * WIDTH];
}
