import type { PlainDtype } from "../ops/quantize.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import type { TensorSource } from "./tensor-source.ts";

/** How matrices are held on the GPU; `auto`: as the checkpoint stores them, or in the best format that fits. */
export type WeightFormat = "auto" | MatrixDtype;

/** The dtypes of safetensors that load as they are. */
export const PLAIN: Readonly<Record<string, PlainDtype>> = { F32: "f32", F16: "f16", BF16: "bf16" };
/** The codes of a quantised tensor: q8 as I8 [out, K], q4 as U8 [out, K / 2]; its scales are F16 [out, K / 32]. */
export const CODES: Readonly<Record<string, "q8" | "q4">> = { I8: "q8", U8: "q4" };
export const SCALES_SUFFIX = ".scales";

/** The dtype that a checkpoint's matrices are stored in: that of its first matrix, or the format that it was converted to. */
export function storedFormat(source: TensorSource): MatrixDtype {
  let plain: PlainDtype | undefined;
  for (const name of source.names()) {
    const { dtype, shape } = source.get(name)!;
    if (shape.length !== 2) continue;
    if (CODES[dtype] && source.get(name + SCALES_SUFFIX)) return CODES[dtype];
    if (!name.endsWith(SCALES_SUFFIX)) plain ??= PLAIN[dtype];
  }
  return plain ?? "f32";
}
