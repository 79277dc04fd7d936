// Attention with online softmax: out = softmax(q kᵀ / sqrt(D)) v for blocks of 32 queries, 64 keys a round, in f32, without any extension.
// Tensors and what a query sees: lib/attention. SPLIT (causal): the third dimension of the grid splits the keys, and out is what attention.combine
// takes: f32 [rows, HEADS, SPLITS, D + 4]: Σ 2^(s - top) v, then top, Σ 2^(s - top), how many splits the row's block has, 0.
// Workgroup (block, head, batch or split) of 16 × 8 threads. Thread (tx, ty) makes the scores of the queries 4ty + r with the keys 4tx + c, and
// the vec4s tx and tx + 16 of these queries' sums. Queries and keys pass through workgroup memory in slices of four vec4s, so that 64 products
// take 8 loads; a row's largest score too, as what each of its 16 threads found; then the weights, and the values of 8 keys at a time.
// What a thread holds is cut so that no compiler spills: 128 registers are all that Intel's and Apple's have.
// Needs: D, SPLIT; sizes multiples of 4; libs step, attention, a kv_block.* with what it needs.
// Limits: 128 invocations, 12288 bytes of workgroup memory (D <= 128), 4 storage bindings. Reference: reference/attention.
const BLOCK = 32u;
const KEYS = 64u;
const THREADS = 128u;
const SLICE = 4u; // vec4s of a head at a time
const PITCH = SLICE + 1u; // of keys: neighbours' lie in different banks
const SLICES = (VEC4S + SLICE - 1u) / SLICE;
const VALUES = 8u; // keys at a time
const PAIR = VEC4S > 16u; // whether a thread has two vec4s of the output
const WEIGHTS = BLOCK * KEYS / 4u;
const TILE = max(BLOCK * SLICE + KEYS * PITCH, WEIGHTS + max(VALUES * VEC4S, THREADS));

var<workgroup> tile: array<vec4<f32>, TILE>; // queries | keys, then weights | largest scores or values

// s + the products of a query with four keys.
fn scored(s: vec4<f32>, x: vec4<f32>, y: mat4x4<f32>) -> vec4<f32> {
  return fma(vec4<f32>(x.w), y[3], fma(vec4<f32>(x.z), y[2], fma(vec4<f32>(x.y), y[1], fma(vec4<f32>(x.x), y[0], s))));
}

// A column of four rows from `row` on, of those there are, at `to` and every NEXT on.
fn store(row: u32, rows: u32, to: u32, column: u32, values: mat4x4<f32>) {
  for (var r = 0u; r < 4u; r++) {
    if (row + r < rows) {
      out[to + r * next_row() + column] = values[r];
    }
  }
}

// Keys of a split.
fn span_of(splits: u32) -> u32 {
  return ((step.start + step.units + KEYS - 1u) / KEYS + splits - 1u) / splits * KEYS;
}

fn next_row() -> u32 {
  return p.heads * select(VEC4S, p.splits * (VEC4S + 1u), SPLIT);
}

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let tx = index % 16u;
  let ty = index / 16u;
  let causal = p.causal != 0u;
  let rows = select(p.q_rows, step.units, causal);
  let head = group.y;
  let row0 = group.x * BLOCK;
  let batch = select(group.z, 0u, SPLIT);
  var first = 0u; // key that the workgroup takes, and the end of its own
  var last = select(p.q_rows, step.start + min(row0 + BLOCK, rows), causal);
  if (SPLIT) {
    let span = span_of(groups.z);
    first = group.z * span;
    last = clamp(last, first, first + span); // none where the block ends before: nobody reads what is stored then
  }
  let sees = select(p.q_rows, step.start + row0 + ty * 4u + 1u, causal); // keys the first of its queries sees; the others P.CAUSAL more each
  let base = batch * p.kv_batch + (head / p.group_size) * p.kv_head;
  let scale = 1.4426950408889634 / sqrt(f32(D)); // so that exp2 serves

  var a0 = vec4<f32>(); // columns tx of the queries r = 0 .. 3
  var a1 = vec4<f32>();
  var a2 = vec4<f32>();
  var a3 = vec4<f32>();
  var b0 = vec4<f32>(); // columns tx + 16
  var b1 = vec4<f32>();
  var b2 = vec4<f32>();
  var b3 = vec4<f32>();
  var top = vec4<f32>(LOWEST);
  var sum = vec4<f32>(); // over the thread's keys
  let rounds = (last - first + KEYS - 1u) / KEYS;
  for (var t = rounds; t > 0u; t--) { // down to 0: compilers see its end
    let key0 = first + (rounds - t) * KEYS;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var slice = 0u; slice < SLICES; slice++) {
      workgroupBarrier();
      for (var n = 0u; n < BLOCK * SLICE / THREADS; n++) {
        let i = n * THREADS + index;
        let column = slice * SLICE + i % SLICE;
        let row = min(row0 + i / SLICE, rows - 1u);
        let x = q[(batch * p.q_rows + row) * (p.q_stride / 4u) + head * VEC4S + min(column, VEC4S - 1u)] * scale;
        tile[i] = select(vec4<f32>(), x, column < VEC4S);
      }
      for (var n = 0u; n < KEYS * SLICE / (WIDE * THREADS); n++) {
        let i = n * THREADS + index;
        let key = i / (SLICE / WIDE);
        let column = slice * SLICE + i % (SLICE / WIDE) * WIDE;
        let at = p.k_offset + base + min(key0 + key, last - 1u) * p.kv_stride;
        let x = key_block((at / 4u + min(column, VEC4S - WIDE)) / WIDE);
        let to = BLOCK * SLICE + (key % 4u * 16u + key / 4u) * PITCH + i % (SLICE / WIDE) * WIDE;
        for (var e = 0u; e < WIDE; e++) {
          tile[to + e] = select(vec4<f32>(), x[e], column < VEC4S);
        }
      }
      workgroupBarrier();
      for (var i = 0u; i < SLICE; i++) {
        let k = BLOCK * SLICE + tx * PITCH + i;
        let keys = transpose(mat4x4<f32>(tile[k], tile[k + 16u * PITCH], tile[k + 32u * PITCH], tile[k + 48u * PITCH]));
        let x = ty * 4u * SLICE + i;
        s0 = scored(s0, tile[x], keys);
        s1 = scored(s1, tile[x + SLICE], keys);
        s2 = scored(s2, tile[x + 2u * SLICE], keys);
        s3 = scored(s3, tile[x + 3u * SLICE], keys);
      }
    }
    let key = key0 + tx * 4u + vec4<u32>(0u, 1u, 2u, 3u);
    s0 = select(vec4<f32>(LOWEST), s0, key < vec4<u32>(sees));
    s1 = select(vec4<f32>(LOWEST), s1, key < vec4<u32>(sees + p.causal));
    s2 = select(vec4<f32>(LOWEST), s2, key < vec4<u32>(sees + 2u * p.causal));
    s3 = select(vec4<f32>(LOWEST), s3, key < vec4<u32>(sees + 3u * p.causal));
    workgroupBarrier();
    let columns = transpose(mat4x4<f32>(s0, s1, s2, s3));
    tile[WEIGHTS + index] = max(max(columns[0], columns[1]), max(columns[2], columns[3]));
    workgroupBarrier();
    var high = top;
    for (var i = 0u; i < 16u; i++) {
      high = max(high, tile[WEIGHTS + ty * 16u + i]);
    }
    let shrink = exp2(top - high);
    top = high;
    s0 = exp2(s0 - high.x);
    s1 = exp2(s1 - high.y);
    s2 = exp2(s2 - high.z);
    s3 = exp2(s3 - high.w);
    sum = fma(sum, shrink, vec4<f32>(1.0) * mat4x4<f32>(s0, s1, s2, s3));
    let w = ty * 4u * (KEYS / 4u);
    tile[w + tx] = s0;
    tile[w + 16u + tx] = s1;
    tile[w + 32u + tx] = s2;
    tile[w + 48u + tx] = s3;
    a0 *= shrink.x;
    a1 *= shrink.y;
    a2 *= shrink.z;
    a3 *= shrink.w;
    if (PAIR) {
      b0 *= shrink.x;
      b1 *= shrink.y;
      b2 *= shrink.z;
      b3 *= shrink.w;
    }
    for (var j = 0u; j < KEYS; j += VALUES) {
      workgroupBarrier();
      for (var n = 0u; n < (VALUES * VEC4S / WIDE + THREADS - 1u) / THREADS; n++) {
        let i = n * THREADS + index;
        let at = p.v_offset + base + min(key0 + j + i / (VEC4S / WIDE), last - 1u) * p.kv_stride;
        if (i < VALUES * VEC4S / WIDE) {
          let x = value_block(at / (4u * WIDE) + i % (VEC4S / WIDE));
          for (var e = 0u; e < WIDE; e++) {
            tile[WEIGHTS + i * WIDE + e] = x[e];
          }
        }
      }
      workgroupBarrier();
      for (var e = 0u; e < VALUES; e += 4u) {
        let at = w + (j + e) / 4u;
        let w0 = tile[at];
        let w1 = tile[at + 16u];
        let w2 = tile[at + 32u];
        let w3 = tile[at + 48u];
        for (var k = 0u; k < 4u; k++) { // key by key: few values at once
          let v = WEIGHTS + (e + k) * VEC4S;
          let near = tile[v + min(tx, VEC4S - 1u)];
          a0 = fma(vec4<f32>(w0[k]), near, a0);
          a1 = fma(vec4<f32>(w1[k]), near, a1);
          a2 = fma(vec4<f32>(w2[k]), near, a2);
          a3 = fma(vec4<f32>(w3[k]), near, a3);
          if (PAIR) {
            let far = tile[v + min(tx + 16u, VEC4S - 1u)];
            b0 = fma(vec4<f32>(w0[k]), far, b0);
            b1 = fma(vec4<f32>(w1[k]), far, b1);
            b2 = fma(vec4<f32>(w2[k]), far, b2);
            b3 = fma(vec4<f32>(w3[k]), far, b3);
          }
        }
      }
    }
  }
  let row = row0 + ty * 4u;
  let place = select(head * VEC4S, (head * p.splits + group.z) * (VEC4S + 1u), SPLIT);
  let to = (batch * p.q_rows + row) * next_row() + place;
  let tells = SPLIT && tx == 0u;
  if (tells) { // at once, and the sums later: nothing has to be kept
    let span = span_of(groups.z);
    let used = f32((step.start + min(row0 + BLOCK, rows) + span - 1u) / span);
    for (var r = 0u; r < min(4u, max(rows, row) - row); r++) {
      out[to + r * next_row() + VEC4S].x = top[r];
      out[to + r * next_row() + VEC4S].z = used;
    }
  }
  workgroupBarrier();
  tile[WEIGHTS + index] = sum;
  workgroupBarrier();
  var all = vec4<f32>();
  for (var i = 0u; i < 16u; i++) {
    all += tile[WEIGHTS + ty * 16u + i];
  }
  if (tells) {
    for (var r = 0u; r < min(4u, max(rows, row) - row); r++) {
      out[to + r * next_row() + VEC4S].y = all[r];
    }
  }
  let factor = select(1.0 / all, vec4<f32>(1.0), SPLIT);
  store(row, select(rows, 0u, tx >= VEC4S), to, tx, mat4x4<f32>(a0 * factor.x, a1 * factor.y, a2 * factor.z, a3 * factor.w));
  if (PAIR) {
    store(row, select(rows, 0u, tx + 16u >= VEC4S), to, tx + 16u, mat4x4<f32>(b0 * factor.x, b1 * factor.y, b2 * factor.z, b3 * factor.w));
  }
}
