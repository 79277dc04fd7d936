import { ATTENTIONS } from "./attention.ts";
import { GEMMS } from "./gemm.ts";

/** Every kernel that only GPUs with matrix units run. */
export const KERNELS = { matmul: GEMMS, attention: ATTENTIONS, decode: {}, norm: {}, qkNorm: {} };
