// What the 8 lanes of a subgroup hand round. The lane of a broadcast must be written out, so each width has a file.
// Needs: subgroups of exactly 8 lanes, the extension subgroups.
const LANES = 8u;

// Of all lanes, in every lane. (subgroupAdd goes lane by lane.)
fn sum_of_lanes(a: f32) -> f32 {
  let pairs = a + subgroupShuffleXor(a, 1u);
  let fours = pairs + subgroupShuffleXor(pairs, 2u);
  return fours + subgroupShuffleXor(fours, 4u);
}

const BRINGS = 1u; // vec4s of 8 that a lane brings

// Lane by lane: the products of its own vec4 b with the 8 rows' vec4s, of which lane l brings row l.
fn add_rows(a: ptr<function, array<vec4<f32>, BRINGS>>, b: vec4<f32>, sums: ptr<function, array<f32, 8>>) {
  (*sums)[0] += dot(subgroupBroadcast((*a)[0], 0u), b);
  (*sums)[1] += dot(subgroupBroadcast((*a)[0], 1u), b);
  (*sums)[2] += dot(subgroupBroadcast((*a)[0], 2u), b);
  (*sums)[3] += dot(subgroupBroadcast((*a)[0], 3u), b);
  (*sums)[4] += dot(subgroupBroadcast((*a)[0], 4u), b);
  (*sums)[5] += dot(subgroupBroadcast((*a)[0], 5u), b);
  (*sums)[6] += dot(subgroupBroadcast((*a)[0], 6u), b);
  (*sums)[7] += dot(subgroupBroadcast((*a)[0], 7u), b);
}

// All 8 vec4s that the lanes bring, lane l the lth.
fn hand_round(a: ptr<function, array<vec4<f32>, BRINGS>>, to: ptr<function, array<vec4<f32>, 8>>) {
  (*to)[0] = subgroupBroadcast((*a)[0], 0u);
  (*to)[1] = subgroupBroadcast((*a)[0], 1u);
  (*to)[2] = subgroupBroadcast((*a)[0], 2u);
  (*to)[3] = subgroupBroadcast((*a)[0], 3u);
  (*to)[4] = subgroupBroadcast((*a)[0], 4u);
  (*to)[5] = subgroupBroadcast((*a)[0], 5u);
  (*to)[6] = subgroupBroadcast((*a)[0], 6u);
  (*to)[7] = subgroupBroadcast((*a)[0], 7u);
}
