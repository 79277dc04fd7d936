// Of every block of 2048 logits the TOP largest with their ids, in order (ties: the smaller id first), and Σ exp(l - the largest).
//   logits: f32 [rows, COUNT]   tops: (value, id) [rows, blocks, TOP]; id = COUNT where the block has no more   sums: f32 [rows, blocks]
// Workgroup (block, row) of 256 threads, of which each holds 8 logits; TOP rounds, each finds the best behind the last.
// Lib sample. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> tops: array<Best>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

var<workgroup> last: Best;
var<workgroup> parts: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let block = group.y * groups.x + group.x;
  var l: array<f32, EACH>;
  for (var i = 0u; i < EACH; i++) {
    l[i] = logits[group.y * p.count + min(group.x * BLOCK + i * THREADS + index, p.count - 1u)];
  }
  for (var rank = 0u; rank < TOP; rank++) {
    var own = Best(LOWEST, p.count);
    for (var i = 0u; i < EACH; i++) {
      let id = group.x * BLOCK + i * THREADS + index;
      let behind = rank == 0u || l[i] < last.value || (l[i] == last.value && id > last.id);
      own = better(own, Best(l[i], select(p.count, id, id < p.count && behind)), p.count);
    }
    let winner = best_of(own, index, p.count);
    if (index == 0u) {
      last = winner;
      tops[block * TOP + rank] = winner;
    }
    workgroupBarrier();
    if (rank == 0u) {
      var sum = 0.0;
      for (var i = 0u; i < EACH; i++) {
        sum += select(0.0, exp(l[i] - last.value), group.x * BLOCK + i * THREADS + index < p.count);
      }
      parts[index] = sum;
    }
  }
  workgroupBarrier();
  if (index == 0u) {
    var sum = 0.0;
    for (var i = 0u; i < THREADS; i++) {
      sum += parts[i];
    }
    sums[block] = sum;
  }
}
