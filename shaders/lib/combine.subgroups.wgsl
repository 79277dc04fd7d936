// Adds up COUNT sums over the threads of a workgroup, which is one team of some subgroups, however they are cut: `combined` tells every thread
// the totals.
// A subgroup leaves its sums in the slot of one of its threads; the other slots are zero, as all workgroup memory is at the start.
// Needs: COUNT, WIDTH, the extension subgroups. 16 COUNT WIDTH bytes of workgroup memory.
var<workgroup> partial: array<vec4<f32>, COUNT * WIDTH>;

fn team_of(index: u32) -> u32 {
  return 0u;
}

fn combine(sums: ptr<function, array<vec4<f32>, COUNT>>, index: u32) {
  for (var i = 0u; i < COUNT; i++) {
    let sum = subgroupAdd((*sums)[i]);
    partial[i * WIDTH + index] = select(vec4<f32>(), sum, subgroupElect());
  }
  workgroupBarrier();
}

fn combined(sums: ptr<function, array<vec4<f32>, COUNT>>, i: u32) -> vec4<f32> {
  var total = vec4<f32>();
  for (var j = 0u; j < WIDTH; j++) {
    total += partial[i * WIDTH + j];
  }
  return total;
}
