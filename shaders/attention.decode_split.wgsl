// Decode attention: out = softmax(q kᵀ / sqrt(D)) v of one query a head over a split of the keys, as lib decode says, without any extension.
// A workgroup has 64 threads for each four of the (at most 8) heads that share its keys; a GROUP over 8 takes several workgroups. In a round of
// 32 keys a thread makes, of its four heads: a quarter of the scores of two keys, its loads side by side with those of the three threads that
// have the other quarters; then the weight of a key; then, of a vec4 of columns, the sums over the keys of its slot.
// A slot has its own largest score until the end, where the slots are added up.
// Needs: D, GROUP; libs step, decode, query.*, query_norm.*, a kv_block.* with what it needs.
// Limits: 128 invocations, 8832 bytes of workgroup memory (D <= 128), 6 storage bindings. Reference: reference/attention.
const QUADS = min(2u, (GROUP + 3u) / 4u); // of heads
const THREADS = 64u * QUADS;
const KEYS = 32u; // of a round
const OWN = KEYS / 16u; // keys of a thread
const CHUNKS = VEC4S / WIDE;
const COLUMNS = select(select(8u, 16u, VEC4S > 8u), 32u, VEC4S > 16u); // threads side by side along a value
const SLOTS = 64u / COLUMNS;
const SLOT = KEYS / SLOTS; // keys of a slot
const PITCH = 4u * WIDE + 1u; // of a chunk of four queries: the four threads of a key read different banks
const PART = QUADS * KEYS + 2u; // likewise
const SCORES = QUADS * CHUNKS * PITCH;
const WEIGHTS = SCORES + PART;
const TILE = max(SCORES + 4u * PART, THREADS / 2u * 5u);

var<workgroup> tile: array<vec4<f32>, TILE>; // queries, transposed: a vec4 is four heads | parts of scores, then scores | weights; at the end sums

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let group = vec3<u32>(id.x % p.kv_heads, id.yz);
  let part = part_of(group);
  let count = part.count;
  if (count == 0u) {
    return;
  }
  let pass_ = id.x / p.kv_heads * 8u;
  let heads = min(GROUP - pass_, 8u);
  let head0 = part.head0 + pass_;
  let lane = index % 64u;
  let quad = index / 64u;
  let slot = lane / COLUMNS;
  let column = lane % COLUMNS;
  if (index < QUADS * VEC4S) {
    let c = index % VEC4S;
    var four: mat4x4<f32>;
    var squares: vec4<f32>;
    for (var h = 0u; h < 4u; h++) {
      let head = index / VEC4S * 4u + h; // past the last one it is repeated; nobody stores what comes of it
      four[h] = query(head0 + min(head, heads - 1u), part.row, c) * (1.0 / sqrt(f32(D)));
      squares[h] = query_square(head0 + min(head, heads - 1u), part.row, c);
    }
    if (NORMED) {
      tile[SCORES + index] = squares;
    }
    four = transpose(four);
    for (var e = 0u; e < 4u; e++) {
      tile[(index / VEC4S * CHUNKS + c / WIDE) * PITCH + c % WIDE * 4u + e] = four[e];
    }
  }
  if (part.last) {
    append(group, part.base + count - 1u, index);
  }
  workgroupBarrier();
  var factor = vec4<f32>(); // of the heads' scores
  for (var c = 0u; c < select(0u, VEC4S, NORMED); c++) {
    factor += tile[SCORES + quad * VEC4S + c];
  }
  factor = norm_factor(factor);

  var acc: array<vec4<f32>, 4>; // of four heads
  var top = vec4<f32>(LOWEST); // of the slot, for four heads
  var sum = vec4<f32>(); // over the thread's own keys
  let rounds = (count + KEYS - 1u) / KEYS;
  for (var t = rounds; t > 0u; t--) { // down to 0: compilers see its end
    let key0 = (rounds - t) * KEYS;
    var s: array<vec4<f32>, OWN>;
    for (var c = 0u; c < OWN; c++) {
      s[c] = vec4<f32>(); // by hand: lavapipe keeps a loop's array from round to round
    }
    for (var i = 0u; i < (CHUNKS + 3u) / 4u; i++) {
      let chunk = i * 4u + lane % 4u;
      if (CHUNKS % 4u == 0u || chunk < CHUNKS) {
        var keys: array<array<vec4<f32>, WIDE>, OWN>;
        for (var c = 0u; c < OWN; c++) {
          keys[c] = key_block((part.base + min(key0 + c * 16u + lane / 4u, count - 1u)) * CHUNKS + chunk);
        }
        for (var e = 0u; e < 4u * WIDE; e++) {
          let x = tile[(quad * CHUNKS + chunk) * PITCH + e];
          for (var c = 0u; c < OWN; c++) {
            s[c] = fma(vec4<f32>(keys[c][e / 4u][e % 4u]), x, s[c]);
          }
        }
      }
    }
    workgroupBarrier();
    for (var c = 0u; c < OWN; c++) {
      tile[SCORES + lane % 4u * PART + quad * KEYS + c * 16u + lane / 4u] = s[c] * factor;
    }
    workgroupBarrier();
    let at = quad * KEYS + slot * SLOT; // of the slot's first key
    let first = min(key0 + slot * SLOT, count - 1u);
    let c = min(column, VEC4S - 1u);
    let values = (part.base + first) * CHUNKS + c / WIDE;
    var score = vec4<f32>(LOWEST);
    if (column < SLOT) {
      let own = SCORES + at + column;
      if (key0 + slot * SLOT + column < count) {
        score = tile[own] + tile[own + PART] + tile[own + 2u * PART] + tile[own + 3u * PART];
      }
      tile[own] = score;
    }
    workgroupBarrier();
    var high = top;
    for (var j = 0u; j < SLOT; j++) {
      high = max(high, tile[SCORES + at + j]);
    }
    let shrink = exp(top - high);
    top = high;
    sum *= shrink;
    if (column < SLOT) {
      score = exp(score - top);
      sum += score;
      tile[WEIGHTS + at + column] = score;
    }
    for (var i = 0u; i < 4u; i++) {
      acc[i] *= shrink[i];
    }
    workgroupBarrier();
    for (var j = 0u; j < SLOT; j++) {
      let weight = tile[WEIGHTS + at + j];
      let value = value_half(values + min(j, count - 1u - first) * CHUNKS, c % WIDE == 1u);
      for (var h = 0u; h < 4u; h++) {
        acc[h] = fma(vec4<f32>(weight[h]), value, acc[h]);
      }
    }
  }
  // The slots become one.
  workgroupBarrier();
  if (column == 0u) {
    tile[quad * SLOTS + slot] = top;
  }
  workgroupBarrier();
  var all = top;
  for (var j = 0u; j < SLOTS; j++) {
    all = max(all, tile[quad * SLOTS + j]);
  }
  let shrink = exp(top - all);
  sum *= shrink;
  for (var i = 0u; i < 4u; i++) {
    acc[i] *= shrink[i];
  }
  for (var half = SLOTS / 2u; half > 0u; half /= 2u) {
    let to = quad * 32u + slot % half * COLUMNS + column;
    workgroupBarrier();
    if (slot >= half && slot < 2u * half) {
      tile[2u * THREADS + to] = sum;
      for (var i = 0u; i < 4u; i++) {
        tile[i * THREADS / 2u + to] = acc[i];
      }
    }
    workgroupBarrier();
    if (slot < half) {
      sum += tile[2u * THREADS + to];
      for (var i = 0u; i < 4u; i++) {
        acc[i] += tile[i * THREADS / 2u + to];
      }
    }
  }
  workgroupBarrier();
  if (slot == 0u) {
    tile[quad * 32u + column] = sum;
  }
  workgroupBarrier();
  if (slot > 0u || column >= VEC4S) {
    return;
  }
  sum = vec4<f32>();
  for (var j = 0u; j < SLOT; j++) { // the others have no keys
    sum += tile[quad * 32u + j];
  }
  for (var h = 0u; h < 4u; h++) {
    if (quad * 4u + h < heads) {
      let head = head0 + quad * 4u + h;
      store(part, head, group.y, column, acc[h], sum[h]);
      if (column == 0u) {
        store_sum(part, head, group.y, all[h], sum[h]);
      }
    }
  }
}
