// GELU with erf: gelu(x) = x/2 (1 + erf(x / sqrt(2))). Reference: reference/gelu.

// erf(x) = sign(x) (1 - t exp(-x² + P(t))), t = 1 / (1 + |x|/2): fractional error of erfc below 1.2e-7
// (Press et al., Numerical Recipes, erfcc). The tanh approximation of GELU is 2e-4 off, and the goldens would notice.
fn erf(x: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.5 * abs(x));
  var e = 0.17087277;
  e = e * t - 0.82215223;
  e = e * t + 1.48851587;
  e = e * t - 1.13520398;
  e = e * t + 0.27886807;
  e = e * t - 0.18628806;
  e = e * t + 0.09678418;
  e = e * t + 0.37409196;
  e = e * t + 1.00002368;
  e = e * t - 1.26551223;
  let tail = t * exp(e - x * x);
  return select(tail - 1.0, 1.0 - tail, x >= 0.0);
}

fn gelu(x: f32) -> f32 {
  return 0.5 * x * (1.0 + erf(x * 0.70710678));
}
