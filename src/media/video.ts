import { EngineError } from "../errors.ts";

/** What a video's time is: its frames a second on average, and from which second to which frames are taken. */
export interface Timed {
  fps: number;
  bound: readonly [start: number, end: number] | undefined;
}

/**
 * Which frames stand for a clip: one from near the middle of each of `segments` equal parts, as the model card's `get_index` has it.
 * A clip shorter than `segments` gives some frames more than once. Each frame becomes one tile (maxTiles 1).
 *
 * @throws EngineError bad-input, also where the bound lies behind the clip's end
 */
export function sampleFrameIndices(frameCount: number, segments: number, { fps, bound }: Partial<Timed> = {}): number[] {
  for (const [name, value] of Object.entries({ frameCount, segments })) {
    if (!Number.isInteger(value) || value < 1) throw new EngineError("bad-input", `${name} is ${value}, it must be a positive integer`);
  }
  const frameAt = (second: number) => (fps === undefined ? Number.POSITIVE_INFINITY : roundHalfEven(second * fps)); // pictures have no time
  const first = bound ? Math.max(0, frameAt(bound[0])) : 0;
  const last = Math.min(frameAt(bound ? bound[1] : 100_000), frameCount - 1);
  if (last < first) {
    const seconds = (frameCount / (fps ?? 1)).toFixed(2);
    const hint = "give a start before its end";
    throw new EngineError("bad-input", `the bound ${bound?.join(":")} holds no frame of the video, which has ${seconds} seconds`, { hint });
  }
  const segment = (last - first) / segments;
  return Array.from({ length: segments }, (_, i) => Math.trunc(first + segment / 2 + roundHalfEven(segment * i)));
}

/** numpy's and Python's `round`: 0.5 → 0, 1.5 → 2, 2.5 → 2. `Math.round` would go up. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
