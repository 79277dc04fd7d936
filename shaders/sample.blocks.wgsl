// The largest logit of every block of 2048, with the first id that has it; clears the histograms for the searches that follow.
//   settings: [state rows]   logits: f32 [rows, COUNT]   best: [state rows, blocks]   histogram: u32 [state rows, 8 passes, 256 bins, 3]
// Workgroup (block, row) of 64 threads: a thread strides over the block, then one of them compares what they found.
// Libs wide, sample. Limits: 64 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read_write> best: array<Best>;
@group(0) @binding(5) var<storage, read_write> histogram: array<u32>;

const THREADS = 64u;


@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let row = state_row(p.first, group.y);
  let s = settings[row];
  if (s.temperature > 0.0 && (s.top_k | s.top_p) != 0u) {
    let words = PASSES * BINS * 3u;
    for (var i = group.x * THREADS + index; i < words; i += groups.x * THREADS) {
      histogram[row * words + i] = 0u;
    }
  }
  let end = min(p.count, (group.x + 1u) * BLOCK);
  var value = LOWEST;
  var id = p.count;
  for (var i = group.x * BLOCK + index; i < end; i += THREADS) {
    let l = logits[group.y * p.count + i];
    if (l > value || id == p.count) {
      value = l;
      id = i;
    }
  }
  found[index] = Best(value, id);
  workgroupBarrier();
  if (index == 0u) {
    best[row * groups.x + group.x] = best_of_found(p.count);
  }
}
