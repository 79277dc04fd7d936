// Adds up COUNT sums over the threads of a workgroup, which is one team, WIDTH a power of two, without any extension: `combined` tells every
// thread the totals.
// Needs: COUNT, WIDTH. 16 COUNT WIDTH bytes of workgroup memory.
var<workgroup> partial: array<vec4<f32>, COUNT * WIDTH>;

fn team_of(index: u32) -> u32 {
  return 0u;
}

fn combine(sums: ptr<function, array<vec4<f32>, COUNT>>, index: u32) {
  for (var i = 0u; i < COUNT; i++) {
    partial[i * WIDTH + index] = (*sums)[i];
  }
  workgroupBarrier();
  for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      for (var i = 0u; i < COUNT; i++) {
        partial[i * WIDTH + index] += partial[i * WIDTH + index + half];
      }
    }
    workgroupBarrier();
  }
}

fn combined(sums: ptr<function, array<vec4<f32>, COUNT>>, i: u32) -> vec4<f32> {
  return partial[i * WIDTH];
}
