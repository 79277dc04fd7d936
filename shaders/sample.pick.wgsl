// The draw: of the logits that top-k, top-p and min-p leave, the id with the largest (l - max) / T + G, G = -ln(-ln(1 - u)) independent for
// every id. Its distribution is exactly softmax(l / T) over those that are left (Gumbel's trick): no running sum over the vocabulary.
//   settings: [state rows]   logits: f32 [rows, COUNT]   histogram: u32 [state rows, 8, 256, 3]   searches: [state rows, 9], the last: where both ended
//   best: [state rows, blocks], the maxima   gumbel: [state rows, blocks], the winners
// Workgroup (block of 2048, row) of 64 threads, 4 ids at a time: one call of the generator makes 4 random words.
// Libs wide, sample. Limits: 64 invocations. Reference: reference/sample.
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

const THREADS = 64u;

var<workgroup> floor_key: u32;
var<workgroup> highest: f32;

// -ln(1 - u) of a uniform u in (0, 1): WGSL's log is too coarse near 1, and small values decide who wins.
fn exponential(word: u32) -> f32 {
  let u = min((f32(word) + 0.5) * 2.3283064e-10, 0.99999994);
  let series = u * (1.0 + u * (1.0 / 2.0 + u * (1.0 / 3.0 + u * (1.0 / 4.0 + u * (1.0 / 5.0 + u / 6.0)))));
  return select(-log(1.0 - u), series, u < 0.0625);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let row = state_row(p.first, group.y);
  let s = settings[row];
  if (s.temperature <= 0.0) {
    return;
  }
  let passes = select(select(0u, COUNT_PASSES, s.top_k != 0u), PASSES, s.top_p != 0u);
  if (passes > 0u) {
    for (var i = index; i < BINS; i += THREADS) {
      let at = ((row * PASSES + passes - 1u) * BINS + i) * 3u;
      bins[i] = joined(histogram[at], histogram[at + 1u], histogram[at + 2u]);
    }
  }
  workgroupBarrier();
  if (index == 0u) {
    floor_key = 0u;
    if (passes > 0u) {
      let end = advance(passes, searches[row * (PASSES + 1u) + passes - 1u], s);
      floor_key = max(end.floor, end.prefix);
    }
    if (group.x == 0u) {
      searches[row * (PASSES + 1u) + PASSES] = Search(0u, 0u, 0u, floor_key); // nobody reads it here
    }
    var top = LOWEST;
    for (var i = 0u; i < groups.x; i++) {
      top = max(top, best[row * groups.x + i].value);
    }
    highest = top;
  }
  workgroupBarrier();
  var value = LOWEST;
  var id = p.count;
  for (var four = index; four < BLOCK / 4u; four += THREADS) {
    let first = group.x * BLOCK + four * 4u;
    if (first >= p.count) {
      break;
    }
    let words = philox(vec4<u32>(first / 4u, s.drawn, 0u, 0u), vec2<u32>(s.seed_low, s.seed_high));
    for (var i = 0u; i < min(4u, p.count - first); i++) {
      let l = logits[group.y * p.count + first + i];
      if (key_of(l) >= floor_key && l - highest >= s.min_gap) {
        let v = (l - highest) / s.temperature - log(exponential(words[i]));
        if (v > value || id == p.count) {
          value = v;
          id = first + i;
        }
      }
    }
  }
  found[index] = Best(value, id);
  workgroupBarrier();
  if (index == 0u) {
    gumbel[row * groups.x + group.x] = best_of_found(p.count);
  }
}
