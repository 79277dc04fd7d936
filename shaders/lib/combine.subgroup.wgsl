// Adds up COUNT sums over the threads of a team that is one whole subgroup, no barrier: `combined` tells every thread the totals.
// Needs: COUNT, WIDTH, the extension subgroups.
fn team_of(index: u32) -> u32 {
  return subgroupBroadcastFirst(index / WIDTH);
}

fn combine(sums: ptr<function, array<vec4<f32>, COUNT>>, index: u32) {
  for (var i = 0u; i < COUNT; i++) {
    (*sums)[i] = subgroupAdd((*sums)[i]);
  }
}

fn combined(sums: ptr<function, array<vec4<f32>, COUNT>>, i: u32) -> vec4<f32> {
  var total = (*sums)[0];
  for (var j = 1u; j < COUNT; j++) { // an array that is indexed by what only a thread knows lies in memory on some GPUs
    total = select(total, (*sums)[j], i == j);
  }
  return total;
}
