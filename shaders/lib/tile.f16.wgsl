// The type in which matmul.gemm_tile128 keeps its tiles in workgroup memory: rounded to f16, for twice the operands a byte. What exceeds 65504
// becomes infinite. Needs the extension f16.
alias Tile = vec4<f16>;
