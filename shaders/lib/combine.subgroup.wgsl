// Adds up COUNT sums over the threads of a workgroup that is one whole subgroup, no barrier: `combined` tells every thread the totals.
// Needs: COUNT, the extension subgroups.
fn combine(sums: ptr<function, array<vec4<f32>, COUNT>>, index: u32) {
  for (var i = 0u; i < COUNT; i++) {
    (*sums)[i] = subgroupAdd((*sums)[i]);
  }
}

fn combined(sums: ptr<function, array<vec4<f32>, COUNT>>, i: u32) -> vec4<f32> {
  return (*sums)[i];
}
