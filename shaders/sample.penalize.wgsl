// What a row asks for besides its logits, in place, so that every later kernel sees the same bits, however its compiler divides. Of an id
// that was drawn c times before (c > 0), l > 0 ? l / PENALTY : l * PENALTY (transformers' RepetitionPenaltyLogitsProcessor), then
// l - PRESENCE - c FREQUENCY (OpenAI's); then an id that the row's mask has not is the lowest that there is.
//   settings: [state rows]   counts: times drawn, u32 [state rows, COUNT]   masks: a bit an id, u32 [masks, ceil(COUNT / 32)]
//   logits: f32 [rows, COUNT]
// Workgroup (block of 256, row), a thread an id. State row = FIRST + row.
// Lib sample. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> counts: array<u32>;
@group(0) @binding(4) var<storage, read> masks: array<u32>;
@group(0) @binding(5) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
  let id = thread.x;
  let row = state_row(p.first, thread.y);
  let s = settings[row];
  let penalised = s.penalty != 1.0 || s.presence != 0.0 || s.frequency != 0.0;
  if (id >= p.count || (!penalised && s.mask == 0u)) {
    return;
  }
  let at = thread.y * p.count + id;
  if (s.mask != 0u && (masks[(s.mask - 1u) * ((p.count + 31u) / 32u) + id / 32u] & (1u << (id % 32u))) == 0u) {
    logits[at] = LOWEST;
    return;
  }
  if (!penalised) {
    return;
  }
  let times = counts[row * p.count + id];
  if (times != 0u) {
    let l = logits[at];
    logits[at] = select(l * s.penalty, l / s.penalty, l > 0.0) - s.presence - f32(times) * s.frequency;
  }
}
