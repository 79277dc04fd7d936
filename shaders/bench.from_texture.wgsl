// What bench.stream reads: a texture, on lavapipe faster than a buffer. x: rgba32float [VEC4S / WIDTH, WIDTH].
// Needs: WIDTH; the language feature readonly_and_readwrite_storage_textures. Limits: a storage texture.
@group(0) @binding(2) var x: texture_storage_2d<rgba32float, read>;

fn vec4_at(i: u32) -> vec4<f32> {
  return textureLoad(x, vec2<u32>(i % WIDTH, i / WIDTH));
}
