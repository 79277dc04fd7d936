// 16 elements of a row of weights of any format and any K that is a multiple of 4, four at a time. Needs: libs weight.*, matmul, gemm.

alias Raw = mat4x4<f32>;

// Share k of the row that is kept as `at` (lib/gemm). Past the row's end its last four are repeated: x has zeros there.
fn fetch(at: u32, k: u32) -> Raw {
  let i = 4u * (at + k);
  if (EVEN) {
    return mat4x4<f32>(weight(i), weight(i + 1u), weight(i + 2u), weight(i + 3u));
  }
  let last = p.vec4s - 1u;
  return mat4x4<f32>(
    weight(at + min(4u * k, last)),
    weight(at + min(4u * k + 1u, last)),
    weight(at + min(4u * k + 2u, last)),
    weight(at + min(4u * k + 3u, last)),
  );
}

fn expand(raw: Raw) -> mat4x4<f32> {
  return raw;
}
