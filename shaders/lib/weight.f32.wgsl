// Four f32 weights, as they are.
alias Quad = vec4<f32>;

fn expand(q: Quad) -> vec4<f32> {
  return q;
}
