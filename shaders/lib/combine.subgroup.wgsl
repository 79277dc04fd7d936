// Adds up sums over the threads of a workgroup that is one whole subgroup: no barrier. Thread r gets row r's.
// Needs: ROWS, the extension subgroups.
fn combine(sums: ptr<function, array<vec4<f32>, ROWS>>, index: u32) -> vec4<f32> {
  for (var r = 0u; r < ROWS; r++) {
    (*sums)[r] = subgroupAdd((*sums)[r]);
  }
  return (*sums)[min(index, ROWS - 1u)];
}
