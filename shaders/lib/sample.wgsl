// What the sampling kernels share (src/ops/sample.ts): a row's settings, and the best of what threads have found.
struct Settings {
  temperature: f32, // 0: greedy
  top_k: u32, // 0: off
  top_p: u32, // in units of 2^-32; 0: off
  min_gap: f32, // temperature * ln(min_p): logits further below the largest are out
  penalty: f32, // of repetition; 1: off
  drawn: u32, // tokens drawn so far: the random generator's counter
  seed_low: u32,
  seed_high: u32,
  presence: f32, // 0: off, as the next
  frequency: f32,
  biases: u32, // how many
  mask: u32, // one more than the mask's place; 0: every id is allowed
}

// The best of a block of logits and the first id that has it; id = the vocabulary's size where nothing may be drawn.
struct Best {
  value: f32,
  id: u32,
}

const BY_SLOT = 0xffffffffu; // as FIRST: a row's state is that of its slot

// The row of the state that belongs to a row of logits: they follow each other from `first` on, or are as the step says.
fn state_row(first: u32, row: u32) -> u32 {
  if (first == BY_SLOT) {
    return slot_of(row);
  }
  return first + row;
}

const BLOCK = 2048u; // logits a workgroup
const THREADS = 256u;
const EACH = 8u; // logits a thread
const BINS = 256u;
const COUNT_PASSES = 4u; // digits of 8 bits; the mass passes follow
const PASSES = 8u;
const LOWEST = -3.4028234e38;
const TOP = 20u; // most probable ids that are reported

// The better of two, ties to the smaller id; an id of `none` means nothing found.
fn better(a: Best, b: Best, none: u32) -> Best {
  let second = b.id < none && (a.id >= none || b.value > a.value || (b.value == a.value && b.id < a.id));
  return Best(select(a.value, b.value, second), select(a.id, b.id, second));
}

var<workgroup> found: array<Best, THREADS>; // what each thread has found

// The best of what all threads have found, for thread 0. Sixteen threads look at sixteen each: a tree would cost nine barriers.
fn best_of(own: Best, index: u32, none: u32) -> Best {
  found[index] = own;
  workgroupBarrier();
  var all = own;
  if (index < 16u) {
    for (var i = 1u; i < 16u; i++) {
      all = better(all, found[index + 16u * i], none);
    }
    found[index] = all;
  }
  workgroupBarrier();
  if (index == 0u) {
    for (var i = 1u; i < 16u; i++) {
      all = better(all, found[i], none);
    }
  }
  return all;
}
