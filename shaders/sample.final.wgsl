// The next id of every row: of the blocks' best the best (greedy: the largest logit; else the draw), ties to the smaller id.
// Marks it as seen and counts it, for the step after this one.
//   best, gumbel: [state rows, BLOCKS]   settings: [state rows]   seen: a bit an id, u32 [state rows, ceil(COUNT / 32)]   next: u32 [state rows]
// Workgroup (1, row) of 64 threads. Libs wide, sample. Limits: 64 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
  blocks: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> best: array<Best>;
@group(0) @binding(3) var<storage, read> gumbel: array<Best>;
@group(0) @binding(4) var<storage, read_write> settings: array<Settings>;
@group(0) @binding(5) var<storage, read_write> seen: array<u32>;
@group(0) @binding(6) var<storage, read_write> next: array<u32>;

const THREADS = 64u;


@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = state_row(p.first, group.y);
  let greedy = settings[row].temperature <= 0.0;
  var value = LOWEST;
  var id = p.count;
  for (var i = index; i < p.blocks; i += THREADS) {
    let at = row * p.blocks + i;
    let v = select(gumbel[at].value, best[at].value, greedy);
    let candidate = select(gumbel[at].id, best[at].id, greedy);
    // a block of which nothing is left has no candidate
    if (candidate < p.count && (v > value || id == p.count)) {
      value = v;
      id = candidate;
    }
  }
  found[index] = Best(value, id);
  workgroupBarrier();
  if (index == 0u) {
    let chosen = min(best_of_found(p.count).id, p.count - 1u);
    next[row] = chosen;
    seen[row * ((p.count + 31u) / 32u) + chosen / 32u] |= 1u << (chosen % 32u);
    settings[row].drawn += 1u;
  }
}
