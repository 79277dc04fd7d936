import { ATTENTIONS, DECODES } from "./attention.ts";
import { MATMULS } from "./matmul.ts";
import { NORMS, QK_NORMS } from "./norm.ts";

export { probeTextureStorage as prepare } from "./texture-storage.ts";

/** Every kernel that only adapters which compute on the CPU run. */
export const KERNELS = { matmul: MATMULS, attention: ATTENTIONS, decode: DECODES, norm: NORMS, qkNorm: QK_NORMS };
