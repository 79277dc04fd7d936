// Keys and values as rope.append writes them, in f32, two at a time.
@group(0) @binding(5) var<storage, read_write> keys: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> values: array<vec2<f32>>;

// Elements 2i, 2i + 1.
fn append_key(i: u32, pair: vec2<f32>) {
  keys[i] = pair;
}

fn append_value(i: u32, pair: vec2<f32>) {
  values[i] = pair;
}
