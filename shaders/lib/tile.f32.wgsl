// The type in which matmul.gemm_tile128 keeps its tiles in workgroup memory: as the operands are.
alias Tile = vec4<f32>;
