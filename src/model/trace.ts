import { EngineError } from "../errors.ts";
import type { Program, Tap } from "../gpu/program.ts";
import { createCaches } from "../ops/kv-cache.ts";
import { recordDecoder, recordHead } from "./decoder.ts";
import { buffersOf, type DecoderParts, stateOf } from "./decoder-slots.ts";

/** A program whose intermediates are tapped. */
export interface Trace {
  program: Program;
  dispose(): void;
}

/**
 * A prefill of up to `context` tokens with every intermediate, the final norm and the logits of every position. Its keys and values are
 * its own, in f32: what is traced is the arithmetic, without the rounding of a cache.
 *
 * @throws EngineError bad-input for a decoder on several devices
 */
export async function recordTrace(parts: DecoderParts, tap: Tap, context: number): Promise<Trace> {
  const { gpu, stages, config, language, ids, chunk } = parts;
  const [stage, other] = stages;
  if (!stage || other) throw new EngineError("bad-input", "a model on several devices is not traced", { hint: "load it on one" });
  const caches = createCaches(gpu.memory, config.language, context, 1, "f32").map((cache) => ({ ...cache, slot: 0 }));
  // A traced step holds the logits of every position: as many rows as one binding takes.
  const rows = Math.min(chunk, context, Math.floor(gpu.memory.maxBinding / (config.language.vocabSize * 4)));
  const program = await stage.programs.record("prefill", rows, (p) => {
    recordDecoder(p, language, stage, ids, caches, stateOf(parts), { tap });
    recordHead(p, language, stage.x, { tap }); // [tokens, vocab]
  });
  return {
    program,
    dispose() {
      program.dispose();
      for (const buffer of caches.flatMap(buffersOf)) gpu.memory.destroy(buffer);
    },
  };
}
