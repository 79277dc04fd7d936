// What a row's probabilities follow from, by its logits as they came: ln Σ exp(l), the TOP largest in order; and the logit of the id that was
// chosen, as penalties, biases and masks have left it.
//   tops: (value, id) [rows, blocks, TOP]   sums: f32 [rows, blocks]   next: u32 [state rows]   logits: f32 [rows, COUNT]
//   probabilities: (ln Σ, the chosen one's logit), then TOP (value, id) [state rows, 1 + TOP]; id = COUNT where there are no more
// Workgroup (1, row) of 256 threads. Lib sample. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
  blocks: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> tops: array<Best>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read> next: array<u32>;
@group(0) @binding(5) var<storage, read> logits: array<f32>;
@group(0) @binding(6) var<storage, read_write> probabilities: array<Best>;

var<workgroup> last: Best;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = state_row(p.first, group.y);
  let to = row * (1u + TOP);
  let candidates = p.blocks * TOP;
  var highest = LOWEST;
  for (var rank = 0u; rank < TOP; rank++) {
    var own = Best(LOWEST, p.count);
    for (var i = index; i < candidates; i += THREADS) {
      let each = tops[group.y * candidates + i];
      let behind = rank == 0u || each.value < last.value || (each.value == last.value && each.id > last.id);
      own = better(own, Best(each.value, select(p.count, each.id, behind)), p.count);
    }
    let winner = best_of(own, index, p.count);
    if (index == 0u) {
      last = winner;
      probabilities[to + 1u + rank] = winner;
      highest = select(highest, winner.value, rank == 0u);
    }
    workgroupBarrier();
  }
  if (index == 0u) {
    var sum = 0.0;
    for (var block = 0u; block < p.blocks; block++) {
      sum += sums[group.y * p.blocks + block] * exp(tops[(group.y * p.blocks + block) * TOP].value - highest);
    }
    let chosen = logits[group.y * p.count + min(next[row], p.count - 1u)];
    probabilities[to] = Best(highest + log(sum), bitcast<u32>(chosen));
  }
}
