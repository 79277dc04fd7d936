import { performance } from "node:perf_hooks";
import type { Engine } from "../../src/generate/engine.ts";
import type { Model } from "../../src/model/internvl.ts";
import { evenly } from "../../src/model/steps.ts";
import { widenBf16 } from "../../src/tensor/tensor.ts";
import { synthesize } from "../synthetic/tensors.ts";

const LONG_MS = 10_000;

/** Milliseconds of the fastest of three runs, after one that warms up; a run of over 10 seconds has warmed up by itself, and is enough. */
async function fastest(work: () => Promise<void>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 4; run++) {
    const began = performance.now();
    await work();
    const ms = performance.now() - began;
    if (run > 0 || ms > LONG_MS) best = Math.min(best, ms);
    if (ms > LONG_MS) break;
  }
  return best;
}

/** Milliseconds of vision for some synthetic tiles. @throws EngineError aborted, device-lost */
export async function timeVision(model: Model, count: number, signal: AbortSignal): Promise<number> {
  const { tileSize: size, tokensPerTile } = model.config;
  const { program } = await model.visionStage(size);
  const pixels = widenBf16(synthesize("input.pixel_values.tile0", [3, size, size], 0, 0, 3 * size * size));
  let run = 0;
  return fastest(async () => {
    const keys = Array.from({ length: count }, (_, i) => `run ${run} tile ${i}`); // other tiles than before: none is in the cache
    const tiles = { count, size, keys, pixels: () => pixels };
    const layout = model.visual.place(keys, 0, tokensPerTile);
    run++;
    while (layout.missing.length > 0) {
      signal.throwIfAborted();
      await model.runVision(tiles, layout.missing.splice(0, evenly(layout.missing.length, program.maxUnits)), layout);
    }
  });
}

/** Milliseconds of a prompt's prefill. @throws EngineError aborted, device-lost */
export function timePrefill(model: Model, engine: Engine, inputIds: readonly number[], signal: AbortSignal): Promise<number> {
  const prompt = { inputIds, imageContextId: -1, maxTokens: 1 };
  return fastest(async () => {
    for await (const _ of engine.prefill(0, prompt, 0, () => false)) {
      await model.flush();
      signal.throwIfAborted();
    }
  });
}
