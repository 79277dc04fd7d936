// The draw: of the logits that top-k, top-p and min-p leave, the id with the largest (l - max) / T + G, G = -ln(-ln(1 - u)) independent for
// every id. Its distribution is exactly softmax(l / T) over those that are left (Gumbel's trick): no running sum over the vocabulary.
//   settings: [state rows]   logits: f32 [rows, COUNT]   histogram: u32 [rows, 8, 256, 3]   searches: [rows, 9], the last: where both ended
//   best: [rows, blocks], the maxima   gumbel: [rows, blocks], the winners: of a greedy row the maxima
// Workgroup (block of 2048, row) of 256 threads, 4 ids at a time: one call of the generator makes 4 random words.
// Libs sample, wide, search. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read> histogram: array<u32>;
@group(0) @binding(5) var<storage, read_write> searches: array<Search>;
@group(0) @binding(6) var<storage, read> best: array<Best>;
@group(0) @binding(7) var<storage, read_write> gumbel: array<Best>;

var<workgroup> floor_key: u32;
var<workgroup> highest: f32;

// -ln(1 - u) of a uniform u in (0, 1): WGSL's log is too coarse near 1, and small values decide who wins.
fn exponential(word: u32) -> f32 {
  let u = min((f32(word) + 0.5) * 2.3283064e-10, 0.99999994);
  let series = u * (1.0 + u * (1.0 / 2.0 + u * (1.0 / 3.0 + u * (1.0 / 4.0 + u * (1.0 / 5.0 + u / 6.0)))));
  return select(-log(1.0 - u), series, u < 0.0625);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let s = settings[state_row(p.first, group.y)];
  let to = group.y * groups.x + group.x;
  if (s.temperature <= 0.0) {
    if (index == 0u) {
      gumbel[to] = best[to];
    }
    return;
  }
  let passes = select(select(0u, COUNT_PASSES, s.top_k != 0u), PASSES, s.top_p != 0u);
  let last = max(passes, 1u) - 1u;
  let at = ((group.y * PASSES + last) * BINS + index) * 3u;
  bins[index] = joined(histogram[at], histogram[at + 1u], histogram[at + 2u]);
  var top = Best(LOWEST, p.count);
  for (var i = index; i < groups.x; i += THREADS) {
    top = better(top, best[group.y * groups.x + i], p.count);
  }
  top = best_of(top, index, p.count);
  let end = advance(passes, searches[group.y * (PASSES + 1u) + last], s, index);
  if (index == 0u) {
    floor_key = select(0u, max(end.floor, end.prefix), passes > 0u);
    if (group.x == 0u) {
      searches[group.y * (PASSES + 1u) + PASSES] = Search(0u, 0u, 0u, floor_key); // nobody reads it here
    }
    highest = top.value;
  }
  workgroupBarrier();
  var own = Best(LOWEST, p.count);
  for (var half = 0u; half < EACH / 4u; half++) {
    let first = group.x * BLOCK + (half * THREADS + index) * 4u;
    let words = philox(vec4<u32>(first / 4u, s.drawn, 0u, 0u), vec2<u32>(s.seed_low, s.seed_high));
    for (var i = 0u; i < 4u; i++) {
      let l = logits[group.y * p.count + min(first + i, p.count - 1u)];
      let allowed = first + i < p.count && key_of(l) >= floor_key && l - highest >= s.min_gap;
      let v = (l - highest) / s.temperature - log(exponential(words[i]));
      own = better(own, Best(v, select(p.count, first + i, allowed)), p.count);
    }
  }
  let winner = best_of(own, index, p.count);
  if (index == 0u) {
    gumbel[to] = winner;
  }
}
