// y = ln(1 + e^x), a value a thread, for x: [count] and y: [count].
// |x| keeps e^-|x| from running over: ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|). COUNT is a constant of the case (`consts`).

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= COUNT) { return; }
  let value = x[id.x];
  y[id.x] = max(value, 0.0) + log(1.0 + exp(-abs(value)));
}
