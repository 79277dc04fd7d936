import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InternVL } from "../../src/index.ts";
import { generateBatch, generateTrace, traceForward } from "../../src/testing.ts";
import { memoryFiles, type ReadRepository, readF32, readJson, relativeL2, syntheticF32, tinyFiles } from "./checkpoints.ts";

interface Case {
  name: string;
  mode: string;
  num_patches_list: number[] | null;
  pixel_values: { name: string; shape: number[] } | null;
  input_ids: number[] | number[][];
  attention_mask?: number[][];
  new_ids: number[] | number[][];
  eos_token_id?: number;
}

interface Golden {
  weights_seed: number;
  eos_token_id: number;
  pad_token_id: number;
  cases: Case[];
}

/** The f32 bounds of golden/README.md (relative L2). */
const boundOf = (tap: string): number => (/^(vit|pixel_shuffle|mlp1|interp84)/.test(tap) ? 1e-5 : 2e-5);

/** A batch is its rows one by one: left padding changes nothing but where a row begins. */
function rowsOf(c: Case): { ids: number[]; pixels: Float32Array | undefined; expected: number[] }[] {
  const all = c.pixel_values ? syntheticF32(c.pixel_values.name, c.pixel_values.shape) : undefined;
  if (!Array.isArray(c.input_ids[0])) return [{ ids: c.input_ids as number[], pixels: all, expected: c.new_ids as number[] }];
  const perTile = all!.length / c.pixel_values!.shape[0]!;
  let tile = 0;
  return (c.input_ids as number[][]).map((ids, row) => {
    const count = c.num_patches_list![row]!;
    const pixels = all!.subarray(tile * perTile, (tile + count) * perTile);
    tile += count;
    return { ids: ids.filter((_, i) => c.attention_mask![row]![i] === 1), pixels, expected: (c.new_ids as number[][])[row]! };
  });
}

/**
 * The checks of one tiny checkpoint, the same in Node and in a page.
 *
 * @param only the cases whose greedy ids are compared; all by default
 */
export async function tinySuite(name: string, read: ReadRepository, only?: readonly string[]): Promise<void> {
  const folder = `test/fixtures/tiny/${name}`;
  const golden = await readJson<Golden>(read, `${folder}/expected.json`);
  const expected = readF32(await read(`${folder}/expected.safetensors`));
  const cases = golden.cases.filter((c) => !only || only.includes(c.name));

  describe(name, () => {
    let vlm: InternVL;
    beforeAll(async () => {
      vlm = await InternVL.load(memoryFiles(await tinyFiles(name, golden.weights_seed, read)), { maxContext: 1024 });
    });
    afterAll(() => vlm?.dispose());

    it("every intermediate of the case `single` is within the f32 bound", async () => {
      const single = golden.cases.find((c) => c.name === "single")!;
      const [{ ids, pixels }] = rowsOf(single) as unknown as [{ ids: number[]; pixels: Float32Array }];
      const trace = await traceForward(vlm, { pixelValues: pixels, inputIds: ids });
      // The norm of Qwen3's heads is a part of the rope kernel: test/model/qwen3-norms.test.ts looks at it.
      const taps = [...expected.keys()].filter((tap) => !/^(interp84|first_logits)|\.[qk]_norm$/.test(tap));
      const errors: Record<string, number> = {};
      for (const tap of taps) {
        const want = expected.get(tap)!.data;
        const got = trace.get(tap)!;
        expect(got, tap).toBeDefined();
        // Some files hold the first tile's only, and of the decoder the last 48 positions'.
        const part = /^(vit|pixel_shuffle)/.test(tap) ? got.subarray(0, want.length) : got.subarray(got.length - want.length);
        errors[tap] = relativeL2(part, want);
        if (want.length !== got.length) expect(name === "tiny-qwen3" ? tap : tap.match(/^logits$/)?.[0]).toBe(tap);
      }
      const [worst] = Object.entries(errors).sort((a, b) => b[1] - a[1]);
      console.log(`${name} on ${vlm.adapter}: worst tap ${worst!.join(" ")}`);
      for (const [tap, error] of Object.entries(errors)) expect(error, tap).toBeLessThan(boundOf(tap));
    });

    it.each(cases.map((c) => [c.name, c] as const))("greedy ids of the case `%s` are equal", async (_, c) => {
      const stop = c.eos_token_id ?? golden.eos_token_id;
      for (const { ids, pixels, expected: want } of rowsOf(c)) {
        const { ids: got, logits } = await generateTrace(vlm, { pixelValues: pixels, inputIds: ids, steps: want.length });
        expect(logits[0]!.length).toBe(expected.get("logits")!.shape.at(-1));
        const end = got.indexOf(stop);
        if (end >= 0) got.fill(golden.pad_token_id, end + 1); // upstream fills a finished row of a batch
        expect(got.slice(0, want.length)).toEqual(want);
      }
    });

    const batches = cases.filter((c) => c.mode.startsWith("batch"));
    if (batches.length > 0)
      it.each(batches.map((c) => [c.name, c] as const))("the rows of the case `%s` decoded together give the same ids", async (_, c) => {
        const stopId = c.eos_token_id ?? golden.eos_token_id;
        const rows = rowsOf(c);
        const steps = rows[0]!.expected.length;
        const requests = rows.map(({ ids, pixels }) => ({ inputIds: ids, pixelValues: pixels }));
        const answers = await generateBatch(vlm, requests, { steps, stopId, maxContext: 512 });
        for (const [i, { expected: want }] of rows.entries()) {
          const got = [...answers[i]!, ...new Array<number>(steps).fill(golden.pad_token_id)].slice(0, steps);
          expect(got).toEqual(want);
        }
      });

    if (!expected.has("interp84.vit")) return; // recorded for tiny-qwen only
    it("positions are interpolated for another tile size", async () => {
      const { data, shape } = expected.get("interp84.pixel_values")!;
      const trace = await traceForward(vlm, { pixelValues: { data, shape }, inputIds: [] });
      expect(relativeL2(trace.get("vit.embeddings")!, expected.get("interp84.embeddings")!.data)).toBeLessThan(1e-5);
      expect(relativeL2(trace.get("vit.layer.2")!, expected.get("interp84.vit")!.data)).toBeLessThan(1e-5);
    });
  });
}
