// ids[start + units] = the first index of the largest logit: the token that follows the step's last one.
//   logits: f32 [COUNT]   ids: u32 [context]
// One workgroup of 256 threads; a thread strides over the logits, then they compare in workgroup memory (ties: the smaller index).
// Lib step. Limits: 256 invocations. Reference: reference/argmax.
struct Params {
  count: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;

const THREADS = 256u;

var<workgroup> best: array<f32, 256>;
var<workgroup> where_: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) index: u32) {
  var value = -3.4028234e38;
  var at = p.count;
  for (var i = index; i < p.count; i += THREADS) {
    if (logits[i] > value || at == p.count) {
      value = logits[i];
      at = i;
    }
  }
  best[index] = value;
  where_[index] = at;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (index < half) {
      let other = index + half;
      if (where_[other] < p.count && (best[other] > best[index] || (best[other] == best[index] && where_[other] < where_[index]))) {
        best[index] = best[other];
        where_[index] = where_[other];
      }
    }
    workgroupBarrier();
  }
  if (index == 0u) {
    ids[step.start + step.units] = where_[0];
  }
}
