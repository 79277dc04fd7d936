// Bindings and layout of attention of one query a head over the KV cache, its keys 0..start split over workgroups (src/ops/attention-decode.ts).
//   q, out: f32 [1, HEADS D]   k, v: f32 [kv heads, CONTEXT, D]; the GROUP heads from g GROUP on share kv head g
//   parts: f32 [HEADS, SPLITS, D + 4]: what a split makes of a head before it is divided: Σ exp(s - top) v, then top, Σ exp(s - top), 0, 0
// Workgroup (kv head, split) takes the keys split SPAN ..< (split + 1) SPAN. Where one split has them all, it writes to out.
// Needs: D (a multiple of 4), GROUP; lib step.
struct Params {
  splits: u32, // room in parts
  span: u32,
  context: u32,
  group_size: u32, // GROUP and QUADS again, for loops that must stay loops
  quads: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;

const QUADS = D / 4u;
const LOWEST = -3.0e38; // stands for -infinity: exp(LOWEST - anything seen) is 0

fn key_count() -> u32 {
  return step.start + 1u;
}

// A column of a head's sum over a split.
fn store(head: u32, split: u32, column: u32, value: vec4<f32>, sum: f32) {
  if (key_count() <= p.span) {
    out[head * QUADS + column] = value / sum;
  } else {
    parts[(head * p.splits + split) * (QUADS + 1u) + column] = value;
  }
}

fn store_sum(head: u32, split: u32, top: f32, sum: f32) {
  if (key_count() > p.span) {
    parts[(head * p.splits + split) * (QUADS + 1u) + QUADS] = vec4<f32>(top, sum, 0.0, 0.0);
  }
}
