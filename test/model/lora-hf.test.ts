import { describe, expect, it } from "vitest";
import { InternVL } from "../../src/index.ts";
import { decodeImage } from "../../src/media/decode.ts";
import { normalizeTiles } from "../../src/media/normalize.ts";
import { generateTrace } from "../../src/testing.ts";
import { hfFiles } from "../shared/layouts.ts";
import { fixture, json, memoryFiles, pathOf, readF32, readRepository, relativeL2 } from "../support.ts";

interface Case {
  name: string;
  pictures: string[] | null;
  video: boolean;
  input_ids: number[];
  new_ids: number[];
  margins: number[];
}

const FOLDER = "tiny/tiny-hf-qwen2";
const SIZE = 112;
const base = json<{ cases: Case[] }>(`${FOLDER}/expected.json`).cases;
const golden = json<{ adapters: Record<string, { cases: Case[] }> }>("tiny/tiny-lora/expected.json").adapters;
const logits = readF32(fixture("tiny/tiny-lora/expected.safetensors"));

/** transformers' tiles of a case, normalised. */
async function pixelsOf({ pictures, video }: Case) {
  const names = video ? ["tiles-video.png"] : (pictures ?? []).map((file) => `tiles-${file}`);
  const tiles = Buffer.concat(await Promise.all(names.map(async (name) => (await decodeImage(fixture(`${FOLDER}/${name}`))).data)));
  const count = tiles.length / (3 * SIZE * SIZE);
  return count === 0 ? undefined : { data: normalizeTiles(tiles, count, SIZE), shape: [count, 3, SIZE, SIZE] };
}

describe("adapters on tiny-hf-qwen2, named as transformers' class has its modules", () => {
  it.each(["hf-plain", "hf-language-only"])("%s in f32", async (name) => {
    const files = memoryFiles(await hfFiles("tiny-hf-qwen2", readRepository));
    const adapters = [pathOf(`test/fixtures/tiny/tiny-lora/${name}`)];
    const vlm = await InternVL.load(files, { maxContext: 512, kv: "f32", weights: "f32", adapters });
    const { data, shape } = logits.get(`${name}.first_logits`)!;
    for (const [i, { name: which, new_ids, margins }] of golden[name]!.cases.entries()) {
      const c = base.find((each) => each.name === which)!;
      const trace = await generateTrace(vlm, { inputIds: c.input_ids, pixelValues: await pixelsOf(c), steps: new_ids.length });
      const error = relativeL2(trace.logits[0]!, data.subarray(i * shape[1]!, (i + 1) * shape[1]!));
      console.log(`${name} ${which} on ${vlm.adapter}: ${error.toExponential(2)}`);
      expect(error).toBeLessThan(2e-5);
      const unclear = margins.findIndex((margin) => margin < 1e-3);
      const clear = unclear < 0 ? new_ids.length : unclear;
      expect(trace.ids.slice(0, clear)).toEqual(new_ids.slice(0, clear));
    }
    await vlm.dispose();
  });
});
