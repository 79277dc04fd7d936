// Keys and values in f16 in loads of 16 bytes (lib kv_vec8.f16).
@group(0) @binding(3) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<u32>>;
