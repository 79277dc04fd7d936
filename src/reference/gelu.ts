/**
 * erf in float64, good to about 1e-15: the power series near zero, the continued fraction of erfc in the tails
 * (Abramowitz & Stegun 7.1.6 and 7.1.14).
 */
export function erf(x: number): number {
  const t = Math.abs(x);
  if (t > 6) return Math.sign(x); // erfc(6) is 2e-17
  if (t < 2.5) {
    let term = t;
    let sum = t;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= (2 * t * t) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-t * t) * sum;
  }
  return Math.sign(x) * (1 - erfcTail(t));
}

/** erfc(t) for t >= 2.5. */
function erfcTail(t: number): number {
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (t + fraction);
  return Math.exp(-t * t) / (Math.sqrt(Math.PI) * (t + fraction));
}

/** GELU with erf: x/2 · (1 + erf(x/√2)); without cancellation for large negative x. */
export function gelu(x: number): number {
  const t = x * Math.SQRT1_2;
  return t < -2.5 ? 0.5 * x * erfcTail(-t) : 0.5 * x * (1 + erf(t));
}
