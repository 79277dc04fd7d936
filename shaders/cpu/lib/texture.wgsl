// Texture storage: vec4s in a texture (src/ops/cpu/texture-storage.ts). Where vec4 i lies, counted on through the rows.
// For what CPU adapters read over and over: lavapipe takes a buffer's vec4s lane by lane with a branch for each component, 48 ns for 8 lanes,
// a texture's in 15 ns by one call. Filled by copies from buffers: a kernel that stores to a texture takes several times as long as one that
// stores to a buffer.
// Needs: const TEXTURE_WIDTH; the language feature readonly_and_readwrite_storage_textures.
fn texture_at(i: u32) -> vec2<u32> {
  return vec2<u32>(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH);
}
