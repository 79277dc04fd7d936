// Queries of decode attention that were rotated and whose keys were appended before (rope.append). Needs: lib decode.

// Column vec4 c of a head, counted through all rows.
fn query(head: u32, row: u32, c: u32) -> vec4<f32> {
  return q[head * VEC4S + c];
}

fn query_square(head: u32, row: u32, c: u32) -> f32 {
  return 0.0;
}

fn append(group: vec3<u32>, base: u32, index: u32) {}
