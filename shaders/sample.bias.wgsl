// Adds to some ids' logits what a row asks for, in place: OpenAI's logit_bias.
//   settings: [state rows]   biases: (id, bias) [state rows, MOST], the first s.biases of each, no id twice   logits: f32 [rows, COUNT]
// Workgroup (1, row) of 256 threads, a bias a thread and turn. State row = FIRST + row.
// Lib sample. Limits: 256 invocations. Reference: reference/sample.
struct Params {
  count: u32,
  first: u32,
  most: u32,
}
struct Bias {
  id: u32,
  value: f32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> settings: array<Settings>;
@group(0) @binding(3) var<storage, read> biases: array<Bias>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = state_row(p.first, group.y);
  for (var i = index; i < min(settings[row].biases, p.most); i += THREADS) {
    let bias = biases[row * p.most + i];
    if (bias.id < p.count) {
      logits[group.y * p.count + bias.id] += bias.value;
    }
  }
}
