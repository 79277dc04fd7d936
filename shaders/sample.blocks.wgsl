// The largest logit of every block of 2048, with the first id that has it; clears the histograms for the searches that follow.
//   settings: [state rows]   logits: f32 [rows, COUNT]   best: [rows, blocks]   histogram: u32 [rows, 8 passes, 256 bins, 3]
// Workgroup (block, row) of 256 threads, of which each looks at 8 logits.
// Lib sample. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> best: array<Best>;
@group(0) @binding(5) var<storage, read_write> histogram: array<u32>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let s = settings[state_row(p.first, group.y)];
  if (s.temperature > 0.0 && (s.top_k | s.top_p) != 0u) {
    let words = PASSES * BINS * 3u;
    for (var i = group.x * THREADS + index; i < words; i += groups.x * THREADS) {
      histogram[group.y * words + i] = 0u;
    }
  }
  var own = Best(LOWEST, p.count);
  for (var i = 0u; i < EACH; i++) {
    // Past the end the last one again: loads that depend on nothing, all under way at once.
    let id = min(group.x * BLOCK + i * THREADS + index, p.count - 1u);
    own = better(own, Best(logits[group.y * p.count + id], id), p.count);
  }
  let winner = best_of(own, index, p.count);
  if (index == 0u) {
    best[group.y * groups.x + group.x] = winner;
  }
}
