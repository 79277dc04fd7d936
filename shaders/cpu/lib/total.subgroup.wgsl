// The sum of a value over the threads of a workgroup that is one whole subgroup: no barrier.
// Needs: the extension subgroups.
fn total(index: u32, value: f32) -> f32 {
  return subgroupAdd(value);
}
