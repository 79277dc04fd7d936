// How many keys each of the splits of decode attention has for a row: `split_keys`, and more where there would be too many
// splits. Up to `few` while they need be no longer than ROUNDS split_keys (as few as a product behind may put together in front of itself:
// lib/prologue.splits), else up to `splits`, which attention.combine puts together.
const ROUNDS = 4u;

fn split_keys_of(keys: u32, split_keys: u32, splits: u32, few: u32) -> u32 {
  let most = select(splits, few, keys <= few * ROUNDS * split_keys);
  return ((keys - 1u) / (split_keys * most) + 1u) * split_keys;
}
