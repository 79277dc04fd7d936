// One pass of the searches for the smallest logit that may be drawn, 8 bits of its key at a time from the top:
//   passes 0..3 count logits: the TOP_K-th largest (ties with it stay, as transformers' TopKLogitsWarper);
//   passes 4..7 add up exp((l - max) / T) of what top-k left: an id stays while those above it hold less than top_p of the mass.
// Masses are integers in units of 2^-36, so that the sum does not depend on the order: limbs of 12 bits, each summed in a u32.
//   settings: [state rows]   logits: f32 [rows, COUNT]   best: [rows, blocks]
//   histogram: u32 [rows, 8, 256, 3]   searches: [rows, 9], the state before each pass
// Workgroup (block of 2048, row) of 256 threads. Every workgroup first works the last pass's histogram off by itself.
// Libs sample, wide, search. Needs COUNT < 2^20. Limits: 256 invocations, 8 KiB of workgroup memory. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
  pass_: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read> best: array<Best>;
@group(0) @binding(5) var<storage, read_write> histogram: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> searches: array<Search>;

var<workgroup> limbs: array<atomic<u32>, 768>; // [256, 3]; counts use the first of three
var<workgroup> now: Search;
var<workgroup> highest: f32;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let s = settings[state_row(p.first, group.y)];
  let mass = p.pass_ >= COUNT_PASSES;
  if (s.temperature <= 0.0 || (mass && s.top_p == 0u) || (!mass && s.top_k == 0u)) {
    return;
  }
  var l: array<f32, EACH>;
  for (var i = 0u; i < EACH; i++) {
    l[i] = logits[group.y * p.count + min(group.x * BLOCK + i * THREADS + index, p.count - 1u)];
  }
  let at = ((group.y * PASSES + max(p.pass_, 1u) - 1u) * BINS + index) * 3u;
  bins[index] = joined(atomicLoad(&histogram[at]), atomicLoad(&histogram[at + 1u]), atomicLoad(&histogram[at + 2u]));
  for (var limb = 0u; limb < 3u; limb++) {
    atomicStore(&limbs[index * 3u + limb], 0u);
  }
  var top = Best(LOWEST, p.count);
  for (var i = index; i < groups.x; i += THREADS) {
    top = better(top, best[group.y * groups.x + i], p.count);
  }
  top = best_of(top, index, p.count);
  // The mass passes begin anew where no logits were counted before.
  let fresh = p.pass_ == 0u || (p.pass_ == COUNT_PASSES && s.top_k == 0u);
  var before = Search();
  if (!fresh) {
    before = searches[group.y * (PASSES + 1u) + p.pass_ - 1u];
  }
  let found_so_far = advance(p.pass_, before, s, index);
  if (index == 0u) {
    now = found_so_far;
    if (fresh && mass) {
      now = Search();
    }
    highest = top.value;
    if (group.x == 0u) {
      searches[group.y * (PASSES + 1u) + p.pass_] = now;
    }
  }
  workgroupBarrier();
  let pass_in_search = p.pass_ % COUNT_PASSES;
  let shift = 24u - 8u * pass_in_search;
  for (var i = 0u; i < EACH; i++) {
    let key = key_of(l[i]);
    // the digits before this one must be those found; for the first digit there are none
    if (
      group.x * BLOCK + i * THREADS + index >= p.count ||
      key < now.floor ||
      (pass_in_search > 0u && (key >> (shift + 8u)) != now.prefix)
    ) {
      continue;
    }
    let bin = ((key >> shift) & 255u) * 3u;
    if (mass) {
      let m = min(1.0, exp((l[i] - highest) / s.temperature)) * 16777216.0;
      let whole = floor(m);
      atomicAdd(&limbs[bin], u32(whole) >> 12u);
      atomicAdd(&limbs[bin + 1u], u32(whole) & 4095u);
      atomicAdd(&limbs[bin + 2u], u32((m - whole) * 4096.0));
    } else {
      atomicAdd(&limbs[bin + 2u], 1u);
    }
  }
  workgroupBarrier();
  for (var limb = 0u; limb < 3u; limb++) {
    let value = atomicLoad(&limbs[index * 3u + limb]);
    if (value != 0u) {
      atomicAdd(&histogram[((group.y * PASSES + p.pass_) * BINS + index) * 3u + limb], value);
    }
  }
}
