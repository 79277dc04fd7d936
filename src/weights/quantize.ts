import { badWeights } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import { convert, type PlainDtype } from "../ops/quantize.ts";
import { BYTES_PER_ELEMENT, isQuantized, type MatrixDtype, type MatrixPart } from "../tensor/tensor.ts";
import { CHUNK_BYTES } from "./reads.ts";
import type { Chunk } from "./tensor-source.ts";

/** Tensors whose refusals are counted apart; above that many they share the last count. */
const COUNTERS = 4096;

/** Converts weights on the GPU while they are loaded, one piece after the other through the same staging buffer. */
export function converterOn(gpu: Gpu) {
  const { memory } = gpu;
  const programs = new Programs(gpu);
  const staging = memory.create("weights staging", CHUNK_BYTES);
  const refused = memory.create("weights refused", 4 * COUNTERS);
  const tensors: { name: string; to: MatrixDtype }[] = [];
  return {
    /** Opens a count for a tensor. */
    counter(name: string, to: MatrixDtype): number {
      tensors.push({ name, to });
      return Math.min(tensors.length, COUNTERS) - 1;
    },

    /** Bytes [begin, end) of a tensor in `from` become the elements from `first` on of a part in `to`. */
    async convert(
      chunk: Chunk,
      [begin, end]: readonly [number, number],
      from: PlainDtype,
      to: MatrixDtype,
      part: MatrixPart,
      first: number,
      counter: number,
    ): Promise<void> {
      await chunk.put(begin, end, staging, 0);
      const elements = (end - begin) / BYTES_PER_ELEMENT[from];
      await programs.once("convert weights", (p) => convert(p, { source: staging, from, to, part, first, elements, refused, counter }));
    },

    /**
     * Waits for what is under way and frees everything.
     *
     * @throws EngineError bad-weights where values do not fit the format
     */
    async finish(): Promise<void> {
      try {
        const counts = new Uint32Array(await memory.read(refused, 0, 4 * COUNTERS));
        const bad = tensors.slice(0, COUNTERS).flatMap(({ name, to }, i) => (counts[i]! > 0 ? [{ name, to, count: counts[i]! }] : []));
        if (bad.length === 0) return;
        const { name, to, count } = bad[0]!;
        const what = isQuantized(to) ? "groups of 32 that hold infinities, NaN or values" : "values";
        const others = bad.length > 1 ? `, and ${bad.length - 1} more tensors are like it` : "";
        const hint = 'load it with weights: "bf16" or "f32"';
        throw badWeights(`tensor "${name}" has ${count} ${what} above what ${to} can hold${others}`, hint);
      } finally {
        for (const buffer of [staging, refused]) memory.destroy(buffer);
        programs.dispose();
      }
    },
  };
}

/** What changes weights' format on a device while they are loaded. */
export type Converter = ReturnType<typeof converterOn>;
