// The sum of a value over the threads of a workgroup of some subgroups, however they are cut: two barriers.
// Needs: THREADS, the extension subgroups. 4 THREADS bytes of workgroup memory.
var<workgroup> sums: array<f32, THREADS>;

fn total(index: u32, value: f32) -> f32 {
  let own = subgroupAdd(value);
  sums[index] = select(0.0, own, subgroupElect());
  workgroupBarrier();
  // Every subgroup adds up all slots, its lanes taking turns.
  let lanes = subgroupAdd(1u);
  let lane = subgroupExclusiveAdd(1u);
  var part = 0.0;
  for (var t = (THREADS + lanes - 1u) / lanes; t > 0u; t--) {
    let i = (t - 1u) * lanes + lane;
    part += select(0.0, sums[min(i, THREADS - 1u)], i < THREADS);
  }
  let sum = subgroupAdd(part);
  workgroupBarrier(); // before the next sum
  return sum;
}
