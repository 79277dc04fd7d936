import { badWeights, type EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { flagNonFinite } from "../ops/finite.ts";
import type { PlainDtype } from "../ops/quantize.ts";
import type { Bindable } from "../tensor/tensor.ts";
import type { TensorSource } from "./tensor-source.ts";

/** Exponent bits of an element: all ones in infinities and NaN. */
const EXPONENT: Readonly<Record<PlainDtype, number>> = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 };

/** How many of the elements are infinite or no number. `bytes` may begin anywhere in a larger buffer. */
export function countNonFinite(bytes: Uint8Array, dtype: PlainDtype): number {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes); // not slice(), by which a Buffer gives no copy
  const { buffer, byteOffset, length } = aligned;
  const words = dtype === "f32" ? new Uint32Array(buffer, byteOffset, length / 4) : new Uint16Array(buffer, byteOffset, length / 2);
  const exponent = EXPONENT[dtype];
  let count = 0;
  for (let i = 0; i < words.length; i++) if ((words[i]! & exponent) === exponent) count++;
  return count;
}

/** The error for a tensor that holds infinities or NaN. */
export function nonFinite(name: string, count: number): EngineError {
  const hint = "the file is damaged, or was saved by a training that diverged: every answer would be wrong";
  return badWeights(`tensor "${name}" holds ${count} infinities or NaN`, hint);
}

/** Storage on the GPU and the stored tensors that it was filled from. */
interface Watched {
  ranges: readonly { words: Bindable; bytes: number }[];
  /** How the elements lie there. */
  held: PlainDtype;
  sources: readonly { name: string; stored: PlainDtype }[];
}

/**
 * Looks through weights on the GPU for infinities and NaN, when they have been uploaded: it reads them at its memory's speed, hundreds of
 * times that of a disk (on a CPU adapter it is one more pass over memory beside the two of the upload, on either side of the API alike).
 * Only where it finds some are the files read once more, to name the tensor.
 */
export function finiteCheck(gpu: Gpu, source: TensorSource) {
  const { memory } = gpu;
  let watching: Watched[] = [];

  /** @throws EngineError bad-weights */
  async function blame(sources: Watched["sources"], signal: AbortSignal | undefined): Promise<void> {
    for (const { name, stored } of sources) {
      let count = 0;
      for await (const chunk of source.stream([name], signal)) count += countNonFinite(await chunk.bytes(), stored);
      if (count > 0) throw nonFinite(source.get(name)?.from?.join(", ") ?? name, count);
    }
    throw new Error(`the weights of ${sources.map(({ name }) => name).join("+")} changed on their way to the GPU`);
  }

  return {
    watch: (watched: Watched) => void watching.push(watched),
    /** Checks what was watched since the last time. @throws EngineError bad-weights naming the first tensor with such values */
    async run(signal: AbortSignal | undefined): Promise<void> {
      const watched = watching;
      watching = [];
      if (watched.length === 0) return;
      const flagged = await memory.temporarily(async () => {
        const flags = memory.create("weights flags", 4 * watched.length);
        const program = await new Programs(gpu).record("finite weights", 1, (p) => {
          for (const [counter, { ranges, held }] of watched.entries()) {
            // Buffers are whole vec4s, zero behind their content.
            for (const { words, bytes } of ranges)
              flagNonFinite(p, { words, bytes: 16 * Math.ceil(bytes / 16), dtype: held, flags, counter });
          }
        });
        program.run({ units: 1, start: 0 });
        return new Uint32Array(await memory.read(flags, 0, 4 * watched.length));
      });
      for (const [i, { sources }] of watched.entries()) if (flagged[i] !== 0) await blame(sources, signal);
    },
  };
}
