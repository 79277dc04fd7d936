// The sum of a value over the threads of a workgroup of some subgroups, however they are cut: two barriers.
// Needs: THREADS, the extension subgroups. 4 THREADS bytes of workgroup memory.
var<workgroup> sums: array<f32, THREADS>;

fn total(index: u32, value: f32) -> f32 {
  let own = subgroupAdd(value);
  sums[index] = select(0.0, own, subgroupElect());
  workgroupBarrier();
  // Every subgroup adds up all slots, its lanes taking turns.
  let lanes = subgroupAdd(1u);
  var part = 0.0;
  for (var i = subgroupExclusiveAdd(1u); i < THREADS; i += lanes) {
    part += sums[i];
  }
  let sum = subgroupAdd(part);
  workgroupBarrier(); // before the next sum
  return sum;
}
