import { EngineError } from "../errors.ts";
import { onOne, type Part } from "./stages.ts";

/**
 * The decoder's layers over devices, as the model card's `split_model` has it: by their memory, of which the first counts half, since it has
 * the vision tower, the embedding and the head; and the last layer, so that a token comes back to where it is chosen.
 *
 * @param memory of each device, in any unit
 * @throws EngineError bad-input for more devices than layers
 */
export function splitLayers(layers: number, memory: readonly number[]): Part[] {
  const devices = memory.length;
  if (devices === 1) return onOne(layers);
  if (devices > layers) {
    const hint = "give at most one for each layer";
    throw new EngineError("bad-input", `devices has ${devices}, this decoder has ${layers} layers`, { hint });
  }
  const shares = memory.map((each, i) => (i === 0 ? each / 2 : each));
  const all = shares.reduce((sum, share) => sum + share, 0);
  let [start, sum] = [0, 0];
  const parts = shares.map((share, device) => {
    sum += share;
    const others = devices - 1 - device; // each of them has a layer at least
    const least = device === 0 ? 0 : start + 1;
    const end = Math.min(layers - 1 - others, Math.max(least, Math.ceil((layers * sum) / all)));
    const part = { device, start, end };
    start = end;
    return part;
  });
  return [...parts, { device: 0, start, end: layers }];
}
