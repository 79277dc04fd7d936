// Weights into q8: for every group of 32 along a row, scale = f16(max |x| / 127), code = clamp(round(x / scale), -127, 127)
// (layout: tensor/tensor.ts). A thread: a group. Needs: libs weight.f32/f16/bf16, half, groups. Reference: reference/quantize.
fn quantize_group(x: ptr<function, array<vec4<f32>, 8>>, group: u32) -> u32 {
  var peak = 0.0;
  for (var i = 0u; i < 8u; i++) {
    let a = abs((*x)[i]);
    peak = max(peak, max(max(a.x, a.y), max(a.z, a.w)));
  }
  let bits = select(half_bits(peak / 127.0), 0u, peak < LEAST);
  let scale = unpack2x16float(bits).x;
  for (var i = 0u; i < 8u; i++) {
    var q = vec4<f32>(0.0);
    if (scale != 0.0) {
      q = clamp(round((*x)[i] / scale), vec4<f32>(-127.0), vec4<f32>(127.0));
    }
    codes[group * 8u + i] = pack4xI8(vec4<i32>(q));
  }
  return bits;
}
