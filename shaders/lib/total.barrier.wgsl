// The sum of a value over the threads of a workgroup, THREADS a power of two, without any extension.
// Needs: THREADS. 4 THREADS bytes of workgroup memory; log2 THREADS + 2 barriers.
var<workgroup> sums: array<f32, THREADS>;

fn total(index: u32, value: f32) -> f32 {
  sums[index] = value;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      sums[index] += sums[index + half];
    }
    workgroupBarrier();
  }
  let sum = sums[0];
  workgroupBarrier(); // before the next sum
  return sum;
}
