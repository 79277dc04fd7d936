// Keys and values as rope.append writes them, in f16, two to a u32, rounded to the nearest. Needs: lib half.
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;
@group(0) @binding(6) var<storage, read_write> values: array<u32>;

// Elements 2i, 2i + 1.
fn append_key(i: u32, pair: vec2<f32>) {
  keys[i] = held(pair.x) | (held(pair.y) << 16u);
}

fn append_value(i: u32, pair: vec2<f32>) {
  values[i] = held(pair.x) | (held(pair.y) << 16u);
}
