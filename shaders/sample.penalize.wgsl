// The repetition penalty (as transformers' RepetitionPenaltyLogitsProcessor): logits of ids drawn before, l > 0 ? l / PENALTY : l * PENALTY,
// in place. So every later kernel sees the same bits, however its compiler divides.
//   settings: [state rows]   seen: a bit an id, u32 [state rows, ceil(COUNT / 32)]   logits: f32 [rows, COUNT]
// Workgroup (block of 64 words, row), a thread a word of 32 ids. State row = FIRST + row.
// Libs wide, sample. Limits: 64 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> seen: array<u32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
  let words = (p.count + 31u) / 32u;
  let penalty = settings[state_row(p.first, thread.y)].penalty;
  if (thread.x >= words || penalty == 1.0) {
    return;
  }
  var bits = seen[state_row(p.first, thread.y) * words + thread.x];
  while (bits != 0u) {
    let at = thread.y * p.count + thread.x * 32u + firstTrailingBit(bits);
    let l = logits[at];
    logits[at] = select(l * penalty, l / penalty, l > 0.0);
    bits &= bits - 1u;
  }
}
