// The type in which matmul.wide keeps its tiles in workgroup memory: as the operands are.
alias Tile = vec4<f32>;
