import type { PlainDtype } from "../ops/quantize.ts";
import { isQuantized, type MatrixDtype } from "../tensor/tensor.ts";
import type { StoredShapes } from "./tensor-source.ts";

/** How matrices are held on the GPU; `auto`: as the checkpoint stores them, or in the best format that fits. */
export type WeightFormat = "auto" | MatrixDtype;

/** The dtypes of safetensors that load as they are. */
export const PLAIN: Readonly<Record<string, PlainDtype>> = { F32: "f32", F16: "f16", BF16: "bf16" };
/** The codes of a quantised tensor: q8 as I8 [out, K], q4 as U8 [out, K / 2]; its scales are F16 [out, K / 32]. */
export const CODES: Readonly<Record<string, "q8" | "q4">> = { I8: "q8", U8: "q4" };
/** Behind a quantized tensor's name: its scales. */
export const SCALES_SUFFIX = ".scales";

/** Whether a tensor is codes with scales beside them, or such scales. */
export function isCoded(source: Pick<StoredShapes, "get">, name: string): boolean {
  const codes = name.endsWith(SCALES_SUFFIX) ? name.slice(0, -SCALES_SUFFIX.length) : name;
  return CODES[source.get(codes)?.dtype ?? ""] !== undefined && source.get(codes + SCALES_SUFFIX) !== undefined;
}

/** The dtype that `auto` holds a checkpoint's matrices in: that of its first matrix, or the format that it was converted to. */
export function storedFormat(source: StoredShapes): MatrixDtype {
  let plain: MatrixDtype | undefined;
  for (const name of source.names()) {
    const { dtype, shape, held = PLAIN[dtype] } = source.get(name)!;
    if (shape.length !== 2) continue;
    if (isCoded(source, name) && CODES[dtype]) return CODES[dtype];
    if (held && isQuantized(held)) return held;
    plain ??= held;
  }
  return plain ?? "f32";
}
