// Adds up sums over the threads of a workgroup of some subgroups, however they are cut. Thread r gets row r's.
// A subgroup leaves its sums in the slot of one of its threads; the other slots are zero, as all workgroup memory is at the start.
// Needs: ROWS, WIDTH, the extension subgroups. 16 ROWS WIDTH bytes of workgroup memory.
var<workgroup> partial: array<vec4<f32>, ROWS * WIDTH>;

fn combine(sums: ptr<function, array<vec4<f32>, ROWS>>, index: u32) -> vec4<f32> {
  for (var r = 0u; r < ROWS; r++) {
    let sum = subgroupAdd((*sums)[r]);
    if (subgroupElect()) {
      partial[r * WIDTH + index] = sum;
    }
  }
  workgroupBarrier();
  var total = vec4<f32>();
  let row = min(index, ROWS - 1u) * WIDTH;
  for (var i = 0u; i < WIDTH; i++) {
    total += partial[row + i];
  }
  return total;
}
