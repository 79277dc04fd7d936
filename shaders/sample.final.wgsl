// The next id of every row: of its candidates the best (of the largest logits, or of the draws), ties to the smaller id.
// Counts it, for the step after this one.
//   candidates: (value, id) [rows, CANDIDATES]   settings: [state rows]   counts: times drawn, u32 [state rows, COUNT]
//   next: u32 [state rows]
// Workgroup (1, row) of 256 threads, of which each looks at 8 candidates at a time.
// Lib sample. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
  candidates: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> candidates: array<Best>;
@group(0) @binding(3) var<storage, read_write> settings: array<Settings>;
@group(0) @binding(4) var<storage, read_write> counts: array<u32>;
@group(0) @binding(5) var<storage, read_write> next: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let rounds = (p.candidates + BLOCK - 1u) / BLOCK;
  var own = Best(LOWEST, p.count);
  for (var round = rounds; round > 0u; round--) {
    for (var i = 0u; i < EACH; i++) {
      let at = min((rounds - round) * BLOCK + i * THREADS + index, p.candidates - 1u);
      own = better(own, candidates[group.y * p.candidates + at], p.count);
    }
  }
  let winner = best_of(own, index, p.count);
  if (index == 0u) {
    let row = state_row(p.first, group.y);
    let chosen = min(winner.id, p.count - 1u);
    next[row] = chosen;
    counts[row * p.count + chosen] += 1u;
    settings[row].drawn += 1u;
  }
}
