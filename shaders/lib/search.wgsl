// A radix search through the logits of a row (sample.histogram, sample.pick): logits as ordered integers, and a digit of the search.
// Which ids may be drawn is always "those with a logit of a certain size or more": top-k, top-p and min-p only differ in how they find it.
// Libs wide, sample.
// Where a radix search stands: the digits found so far, what is still to be counted off, and the result of an earlier search.
struct Search {
  prefix: u32,
  rest_low: u32, // a rank (top-k) or a mass (top-p, 64 bits)
  rest_high: u32,
  floor: u32, // the key below which top-k cuts
}

// A bin of a histogram of three 12-bit limbs, from the highest; counts use the lowest only.
fn joined(high: u32, middle: u32, low: u32) -> vec2<u32> {
  return add64(add64(vec2<u32>(high << 24u, high >> 8u), vec2<u32>(middle << 12u, middle >> 20u)), vec2<u32>(low, 0u));
}

// Larger floats have larger keys; both zeros have the same.
fn key_of(value: f32) -> u32 {
  let bits = bitcast<u32>(select(value, 0.0, value == 0.0));
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

var<workgroup> bins: array<vec2<u32>, BINS>; // counts or masses of the last pass
var<workgroup> sixteens: array<vec2<u32>, 16>; // sums of them

// The state before `pass`, from the state before the last pass and what that pass has counted (in bins). All threads call it; thread 0 knows.
fn advance(pass_: u32, before: Search, s: Settings, index: u32) -> Search {
  workgroupBarrier();
  if (index < 16u) {
    var sum = vec2<u32>();
    for (var i = 0u; i < 16u; i++) {
      sum = add64(sum, bins[index * 16u + i]);
    }
    sixteens[index] = sum;
  }
  workgroupBarrier();
  if (pass_ == 0u) {
    return Search(0u, s.top_k, 0u, 0u);
  }
  var rest = vec2<u32>(before.rest_low, before.rest_high);
  if (pass_ == COUNT_PASSES + 1u) {
    var total = vec2<u32>();
    for (var i = 0u; i < 16u; i++) {
      total = add64(total, sixteens[i]);
    }
    // top_p * total / 2^32, at least the smallest mass: the largest logit always stays.
    rest = add64(vec2<u32>(mul_wide(total.x, s.top_p).y, 0u), mul_wide(total.y, s.top_p));
    rest = select(rest, vec2<u32>(1u, 0u), all(rest == vec2<u32>()));
  }
  // From the largest digit down: the first bin in which the rest is reached, by sixteens, then one by one.
  var high = 15u;
  while (high > 0u && !at_most64(rest, sixteens[high])) {
    rest = sub64(rest, sixteens[high]);
    high--;
  }
  var digit = high * 16u + 15u;
  while (digit > high * 16u && !at_most64(rest, bins[digit])) {
    rest = sub64(rest, bins[digit]);
    digit--;
  }
  let prefix = (before.prefix << 8u) | digit;
  if (pass_ == COUNT_PASSES) {
    return Search(0u, 0u, 0u, prefix);
  }
  return Search(prefix, rest.x, rest.y, before.floor);
}
