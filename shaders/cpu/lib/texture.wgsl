// Storage as a texture of vec4s (src/ops/cpu/texels.ts): texel i of one that is counted on through its rows.
// For what CPU adapters read over and over: lavapipe takes a buffer's vec4s lane by lane with a branch for each component, 48 ns for 8 lanes,
// a texture's in 15 ns by one call. Filled by copies from buffers: a kernel that stores texels takes several times as long as one that
// stores to a buffer.
// Needs: const TEXELS_WIDE; the language feature readonly_and_readwrite_storage_textures.
fn texel(i: u32) -> vec2<u32> {
  return vec2<u32>(i % TEXELS_WIDE, i / TEXELS_WIDE);
}
