// Besides storing its products, a workgroup of matmul.gemv leaves the largest of its columns and the first id that has it, for every row: with
// the head's logits greedy sampling then reads a sixteenth of them. For products without an epilogue.
//   maxima: (value, id) [rows, ceil(N / (4 TEAMS))]
// Needs: ROWS, TEAMS; lib matmul. 8 ROWS TEAMS bytes of workgroup memory, a barrier.
struct Best {
  value: f32,
  id: u32,
}
@group(0) @binding(9) var<storage, read_write> maxima: array<Best>;
var<workgroup> bests: array<Best, ROWS * TEAMS>;

// All threads call it; what lane r of a team below ROWS brings are the team's products of row row + r.
fn keep_maxima(block: u32, team: u32, lane: u32, row: u32, products: vec4<f32>) {
  let column = (block * TEAMS + team) * 4u;
  if (lane < ROWS) {
    var own = Best(products.x, column);
    for (var j = 1u; j < 4u; j++) {
      if (column + j < p.n && products[j] > own.value) {
        own = Best(products[j], column + j);
      }
    }
    bests[team * ROWS + lane] = own;
  }
  workgroupBarrier();
  if (team == 0u && lane < ROWS && row + lane < row_count()) {
    var own = bests[lane];
    for (var t = 1u; t < TEAMS; t++) {
      let other = bests[t * ROWS + lane];
      if (other.id < p.n && other.value > own.value) {
        own = other;
      }
    }
    maxima[(row + lane) * ((p.n + 4u * TEAMS - 1u) / (4u * TEAMS)) + block] = own;
  }
}
