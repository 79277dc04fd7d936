// Weights into q4: value = (code - 8) * scale, codes 0 .. 15, for every group of 32 along a row (layout: tensor/tensor.ts).
// The scale is searched. Let m be the element of largest magnitude. For each divisor d, rounding x * d / m gives codes q whose best
// scale in the least-squares sense is sum(xq) / sum(qq), and which then leave an error of sum(xx) - sum(xq)^2 / sum(qq): the d with
// the largest sum(xq)^2 / sum(qq) wins, and the codes are rounded again with its scale. A thread: a group.
// Needs: libs weight.f32/f16/bf16, half, groups. Reference: reference/quantize.
const DIVISORS = array<f32, 8>(-9.0, -8.4, -7.8, -7.2, -6.6, 7.6, 7.0, 6.4);

fn level(x: vec4<f32>) -> vec4<f32> {
  return clamp(round(x), vec4<f32>(-8.0), vec4<f32>(7.0));
}

fn quantize_group(x: ptr<function, array<vec4<f32>, 8>>, group: u32) -> u32 {
  var most = 0.0; // the first element of the largest magnitude
  for (var i = 0u; i < 8u; i++) {
    let v = (*x)[i];
    most = select(most, v.x, abs(v.x) > abs(most));
    most = select(most, v.y, abs(v.y) > abs(most));
    most = select(most, v.z, abs(v.z) > abs(most));
    most = select(most, v.w, abs(v.w) > abs(most));
  }
  var bits = 0u;
  if (abs(most) >= LEAST) {
    var gain = 0.0;
    var best = 0.0;
    for (var c = 0u; c < 8u; c++) {
      let inverse = DIVISORS[c] / most;
      var xq = vec4<f32>(0.0);
      var qq = vec4<f32>(0.0);
      for (var i = 0u; i < 8u; i++) {
        let q = level((*x)[i] * inverse);
        xq += (*x)[i] * q;
        qq += q * q;
      }
      let sum_xq = (xq.x + xq.y) + (xq.z + xq.w);
      let fit = sum_xq / ((qq.x + qq.y) + (qq.z + qq.w));
      if (sum_xq * fit > gain) {
        gain = sum_xq * fit;
        best = fit;
      }
    }
    bits = half_bits(best);
  }
  let scale = unpack2x16float(bits).x;
  for (var i = 0u; i < 4u; i++) {
    var low = vec4<f32>(0.0);
    var high = vec4<f32>(0.0);
    if (scale != 0.0) {
      low = level((*x)[2u * i] / scale);
      high = level((*x)[2u * i + 1u] / scale);
    }
    codes[group * 4u + i] = pack4xU8(vec4<u32>(low + 8.0)) | (pack4xU8(vec4<u32>(high + 8.0)) << 4u);
  }
  return bits;
}
