// Keys and values as rope.append writes them, in f16, two to a u32, rounded to the nearest. What exceeds f16 is held at its largest
// number: infinity would spread over everything that attends to it. (A NaN stays one.)
// Needs: lib half.
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;
@group(0) @binding(6) var<storage, read_write> values: array<u32>;

const LARGEST = 65504.0;

fn half_of(x: f32) -> u32 {
  return half_bits(select(x, sign(x) * LARGEST, abs(x) > LARGEST));
}

// Elements 2i, 2i + 1.
fn append_key(i: u32, pair: vec2<f32>) {
  keys[i] = half_of(pair.x) | (half_of(pair.y) << 16u);
}

fn append_value(i: u32, pair: vec2<f32>) {
  values[i] = half_of(pair.x) | (half_of(pair.y) << 16u);
}
