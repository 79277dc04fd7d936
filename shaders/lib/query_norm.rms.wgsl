// Qwen3's norm of a head [D] of q or k in decode attention, as lib/head_norm.rms: y = weight * x / sqrt(mean(x²) + eps).
//   norms: f32 [2, D] as q's | k's
// Needs: D; lib decode. Reference: reference/norm.
const NORMED = true;
@group(0) @binding(8) var<storage, read> norms: array<vec4<f32>>;

fn norm_weight(c: u32, key: bool) -> vec4<f32> {
  return norms[select(0u, VEC4S, key) + c];
}

fn norm_factor(squares: vec4<f32>) -> vec4<f32> {
  return 1.0 / sqrt(squares / f32(D) + p.eps);
}
