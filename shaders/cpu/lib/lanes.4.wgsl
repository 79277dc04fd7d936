// What the 4 lanes of a subgroup hand round. The lane of a broadcast must be written out, so each width has a file.
// Needs: subgroups of exactly 4 lanes, the extension subgroups.
const LANES = 4u;

// Lane by lane: its own products with the vec4s a of all lanes.
fn dots(a: vec4<f32>, b: ptr<function, array<vec4<f32>, LANES>>) -> f32 {
  return dot(subgroupBroadcast(a, 0u), (*b)[0]) + dot(subgroupBroadcast(a, 1u), (*b)[1])
    + dot(subgroupBroadcast(a, 2u), (*b)[2]) + dot(subgroupBroadcast(a, 3u), (*b)[3]);
}

// Lane by lane: its own vec4s with the weights a of all lanes.
fn weighted(a: f32, b: ptr<function, array<vec4<f32>, LANES>>) -> vec4<f32> {
  return subgroupBroadcast(a, 0u) * (*b)[0] + subgroupBroadcast(a, 1u) * (*b)[1]
    + subgroupBroadcast(a, 2u) * (*b)[2] + subgroupBroadcast(a, 3u) * (*b)[3];
}

// Of all lanes, in every lane.
fn sum_of_lanes(a: f32) -> f32 {
  let pairs = a + subgroupShuffleXor(a, 1u);
  return pairs + subgroupShuffleXor(pairs, 2u);
}

const BRINGS = 2u; // vec4s of 8 that a lane brings

// Lane by lane: the products of its own vec4 b with the 8 rows' vec4s, of which lane l brings rows l and l + 4.
fn add_rows(a: ptr<function, array<vec4<f32>, BRINGS>>, b: vec4<f32>, sums: ptr<function, array<f32, 8>>) {
  (*sums)[0] += dot(subgroupBroadcast((*a)[0], 0u), b);
  (*sums)[1] += dot(subgroupBroadcast((*a)[0], 1u), b);
  (*sums)[2] += dot(subgroupBroadcast((*a)[0], 2u), b);
  (*sums)[3] += dot(subgroupBroadcast((*a)[0], 3u), b);
  (*sums)[4] += dot(subgroupBroadcast((*a)[1], 0u), b);
  (*sums)[5] += dot(subgroupBroadcast((*a)[1], 1u), b);
  (*sums)[6] += dot(subgroupBroadcast((*a)[1], 2u), b);
  (*sums)[7] += dot(subgroupBroadcast((*a)[1], 3u), b);
}

// All 8 vec4s that the lanes bring, lane l the lth and the (l + 4)th.
fn hand_round(a: ptr<function, array<vec4<f32>, BRINGS>>, to: ptr<function, array<vec4<f32>, 8>>) {
  (*to)[0] = subgroupBroadcast((*a)[0], 0u);
  (*to)[1] = subgroupBroadcast((*a)[0], 1u);
  (*to)[2] = subgroupBroadcast((*a)[0], 2u);
  (*to)[3] = subgroupBroadcast((*a)[0], 3u);
  (*to)[4] = subgroupBroadcast((*a)[1], 0u);
  (*to)[5] = subgroupBroadcast((*a)[1], 1u);
  (*to)[6] = subgroupBroadcast((*a)[1], 2u);
  (*to)[7] = subgroupBroadcast((*a)[1], 3u);
}
