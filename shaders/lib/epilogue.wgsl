// What happens to a matrix product before it is stored: y = residual + scale * act(v + bias), each part behind a switch.
// Needs: BIAS, GELU, SCALE, RESIDUAL, OUT_STRIDE; bindings bias, scale (dummies where switched off) and y.

// erf(x) = sign(x) (1 - t exp(-x² + P(t))), t = 1 / (1 + |x|/2): fractional error of erfc below 1.2e-7
// (Press et al., Numerical Recipes, erfcc). The tanh approximation of GELU is 2e-4 off, and the goldens would notice.
fn erf(x: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.5 * abs(x));
  var p = 0.17087277;
  p = p * t - 0.82215223;
  p = p * t + 1.48851587;
  p = p * t - 1.13520398;
  p = p * t + 0.27886807;
  p = p * t - 0.18628806;
  p = p * t + 0.09678418;
  p = p * t + 0.37409196;
  p = p * t + 1.00002368;
  p = p * t - 1.26551223;
  let tail = t * exp(p - x * x);
  return select(tail - 1.0, 1.0 - tail, x >= 0.0);
}

fn gelu(x: f32) -> f32 {
  return 0.5 * x * (1.0 + erf(x * 0.70710678));
}

fn store(row: u32, column: u32, product: f32) {
  var v = product;
  if (BIAS) {
    v += bias[column];
  }
  if (GELU) {
    v = gelu(v);
  }
  if (SCALE) {
    v *= scale[column];
  }
  let at = row * OUT_STRIDE + column;
  if (RESIDUAL) {
    v += y[at];
  }
  y[at] = v;
}
