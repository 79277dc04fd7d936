// What matmul.gemv does with its products besides storing them: nothing.
fn keep_maxima(block: u32, team: u32, lane: u32, row: u32, products: vec4<f32>) {
}
