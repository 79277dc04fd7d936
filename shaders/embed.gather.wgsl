// x[r] = table[ids[start + r]] (SEPARATE, rows that are sequences of their own: ids[slot_of(r)]), or, where bit 31 of the id is set, visual[the other bits] (MODEL.md §4, the merge).
//   ids: u32 [context]   table: [ROWS, WIDTH], the rows FIRST.. of the whole matrix   visual: f32 [visual tokens, WIDTH]   x: f32 [rows, WIDTH]
// Workgroup (block of 64 vec4s, row), a thread a vec4. Ids of other parts of the table are left to their own dispatches;
// the part with FIRST = 0 takes the visual rows.
// WIDTH is 4 vec4s. Needs: libs step, weight.*. Reference: reference/embed.
struct Params {
  vec4s: u32,
  first: u32,
  rows: u32,
  separate: u32,
}
@group(0) @binding(1) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read> visual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> x: array<vec4<f32>>;

const VISUAL = 0x80000000u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
  if (thread.x >= p.vec4s) {
    return;
  }
  let to = thread.y * p.vec4s + thread.x;
  let id = ids[select(step.start + thread.y, slot_of(thread.y), p.separate != 0u)];
  if ((id & VISUAL) != 0u) {
    if (p.first == 0u) {
      x[to] = visual[(id & ~VISUAL) * p.vec4s + thread.x];
    }
  } else if (id >= p.first && id - p.first < p.rows) {
    x[to] = weight((id - p.first) * p.vec4s + thread.x);
  }
}
