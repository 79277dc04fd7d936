// 16 elements of a row of weights of any format and any K that is a multiple of 4, four at a time. Needs: libs weight.*, matmul.

alias Raw = mat4x4<f32>;

// Elements 4k .. 4k + 15 of the row that begins at `row` (in vec4s). Past its end its last four are repeated: x has zeros there.
fn fetch(row: u32, k: u32) -> Raw {
  let last = p.vec4s - 1u;
  return mat4x4<f32>(
    weight(row + min(k, last)),
    weight(row + min(k + 1u, last)),
    weight(row + min(k + 2u, last)),
    weight(row + min(k + 3u, last)),
  );
}

fn expand(raw: Raw) -> mat4x4<f32> {
  return raw;
}
