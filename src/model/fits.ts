import { GROUP } from "../tensor/tensor.ts";
import { CODES, PLAIN, SCALES_SUFFIX } from "../weights/formats.ts";
import type { StoredShape } from "../weights/tensor-source.ts";
import type { ModelConfig } from "./config.ts";
import { checkpointTensors } from "./tensors.ts";

/** The tensors that files declare, by name. */
export type Stored = ReadonlyMap<string, StoredShape>;

/** Whether a tensor is stored so that one of `shape` can be had of it: in a plain dtype, or as codes [rows, K] or [rows, K / 2] with scales. */
export function isHeld(shape: readonly number[], has: StoredShape, scales: StoredShape | undefined): boolean {
  const alike = (stored: StoredShape, ...shape: readonly number[]) => String(stored.shape) === String(shape);
  if (!scales) return PLAIN[has.dtype] !== undefined && alike(has, ...shape);
  const [rows, inner] = shape as [number, number];
  const format = shape.length === 2 ? CODES[has.dtype] : undefined;
  return (
    format !== undefined &&
    alike(has, rows, format === "q4" ? inner / 2 : inner) &&
    scales.dtype === "F16" &&
    alike(scales, rows, inner / GROUP)
  );
}

/** Whether files hold all that a configuration asks for, and nothing else. If not, `checkTensors` says what is wrong, if anything is. */
export function fits(config: ModelConfig, stored: Stored): boolean {
  const known = new Set<string>();
  for (const { name, shape } of checkpointTensors(config, (name) => stored.has(name))) {
    const [has, scales] = [stored.get(name), stored.get(name + SCALES_SUFFIX)];
    if (!has || !isHeld(shape, has, scales)) return false;
    known.add(name);
    if (scales) known.add(name + SCALES_SUFFIX);
  }
  return known.size === stored.size;
}
