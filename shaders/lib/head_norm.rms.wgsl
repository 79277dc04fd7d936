// Qwen3's norm of a head [D] of q or k: y = weight * x / sqrt(mean(x²) + eps), one weight for all heads of q and one for those of k.
//   norms: f32 [2, D] as q's | k's
// Needs: p.pairs = D / 4, p.eps, qkv as vec2s; the workgroup's threads all here; lib total.*. Reference: reference/norm.
@group(0) @binding(7) var<storage, read> norms: array<vec2<f32>>;

// 1 / sqrt(mean(x²) + eps) of the head that begins at vec2 `origin` of qkv.
fn inverse_rms(index: u32, origin: u32) -> f32 {
  var squares = 0.0;
  for (var j = index; j < 2u * p.pairs; j += THREADS) {
    squares += dot(qkv[origin + j], qkv[origin + j]);
  }
  return 1.0 / sqrt(total(index, squares) / f32(4u * p.pairs) + p.eps);
}

// Columns 2j, 2j + 1.
fn head_weight(key: bool, j: u32) -> vec2<f32> {
  return norms[select(0u, 2u * p.pairs, key) + j];
}
