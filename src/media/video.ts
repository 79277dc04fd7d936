import { EngineError } from "../errors.ts";

/**
 * Which frames stand for a clip: one from near the middle of each of `segments` equal parts (upstream `get_index`, no time bound).
 * A clip shorter than `segments` gives some frames more than once. Each frame becomes one tile (maxTiles 1).
 */
export function sampleFrameIndices(frameCount: number, segments: number): number[] {
  for (const [name, value] of Object.entries({ frameCount, segments })) {
    if (!Number.isInteger(value) || value < 1) throw new EngineError("bad-input", `${name} is ${value}, it must be a positive integer`);
  }
  const segment = (frameCount - 1) / segments; // from the first frame to the last
  return Array.from({ length: segments }, (_, i) => Math.trunc(segment / 2 + roundHalfEven(segment * i)));
}

/** numpy's `round`: 0.5 → 0, 1.5 → 2, 2.5 → 2. `Math.round` would go up. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
