import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { type BatchItem, type BatchResult, EngineError, type ImagePart, InternVL } from "../../src/index.ts";
import { expectNoUnhandled } from "../shared/failures.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const card = `${folder}/images/card-1.png`;
const q = "What shape is it?";
const good: BatchItem = { prompt: q, images: [card] };

expectNoUnhandled();

const partOf = (result: BatchResult): ImagePart => {
  if ("error" in result) throw result.error;
  return (result.history[0]!.content as ImagePart[])[0]!;
};

describe("items of a batch", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { maxContext: 256 });
  });
  afterAll(() => vlm.dispose());

  it("fail alone, whatever is wrong with them, foreseen or not", async () => {
    // A server that breaks off in the middle of the picture.
    const server = createServer((_, response) => {
      response.writeHead(200, { "content-length": 5000 });
      response.write(readFileSync(card).subarray(0, 100));
      setTimeout(() => response.destroy(), 20);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.png`;
    const bad: [unknown, string, RegExp][] = [
      [{ prompt: q, images: [url] }, "", /image 1|fetch/],
      [
        { prompt: q, images: [{ size: 3, arrayBuffer: () => Promise.reject(new TypeError("moved")) }] },
        "bad-image",
        /image 1's file cannot be read: moved/,
      ],
      [{ prompt: q, images: [{ size: 3, arrayBuffer: async () => 7 }] }, "", /image 1/],
      [{ prompt: q, images: [{ data: "!", width: 1, height: 1 }] }, "bad-input", /data of image 1 is "!", needs bytes/],
      [{ prompt: q, images: [{ data: 5, width: 1, height: 1 }] }, "", /./],
      [{ prompt: q, images: [{ data: new Uint8Array(4), width: 3, height: 1, channels: 3 }] }, "", /./],
      [{ prompt: q, image: card }, "bad-input", /item 7 has no option "image"; did you mean "images"\?/],
      [{ prompt: q, video: "a.mp4" }, "bad-input", /video is "a.mp4"/],
      [{ prompt: "<image> <image>", images: [card] }, "bad-input", /the question has 2 <image> placeholders but 1 image/],
      [{ prompt: "a".repeat(1e5) }, "context-overflow", /at least/],
      [7, "bad-input", /item 11 was given as options is 7/],
      [
        {
          get prompt() {
            throw new RangeError("mine");
          },
        },
        "bad-input",
        /the options of item 12 cannot be read: "mine"/,
      ],
      [new Proxy({}, { ownKeys: () => [].at(0)! as string[] }), "bad-input", /cannot be read/],
    ];
    const items = [...bad.map(([item]) => item as BatchItem), good];
    const results = await vlm.batch(items, { rows: 2 });
    expect(results).toHaveLength(items.length);
    for (const [i, [, code, message]] of bad.entries()) {
      const { error } = results[i] as { error: EngineError };
      expect(error, `item ${i + 1}`).toBeInstanceOf(EngineError);
      expect(error.message).toMatch(message);
      if (code) expect(error.code).toBe(code);
    }
    expect(results.at(-1)).toMatchObject({ text: "A triangle." });
    server.close();
  });

  it("an error of the caller's own callback ends the batch with that very error, also a late one", async () => {
    const mistake = new TypeError("a mistake of the caller");
    const before = vlm.memory().bytes;
    const items = Array.from({ length: 6 }, () => ({ prompt: "Hello", maxTokens: 2 }));
    const seen: number[] = [];
    const throwing = (_: BatchResult, index: number) => {
      seen.push(index);
      throw mistake;
    };
    await expect(vlm.batch(items, { rows: 2, onResult: throwing })).rejects.toBe(mistake);
    expect(seen).toHaveLength(1);
    const late = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      throw mistake;
    };
    await expect(vlm.batch(items, { rows: 2, onResult: late })).rejects.toBe(mistake);
    const abort = new AbortController();
    const endless = () => {
      setTimeout(() => abort.abort("enough"), 50);
      return new Promise<void>(() => {});
    };
    const given = vlm.batch([items[0]!], { signal: abort.signal, onResult: endless });
    await expect(given).rejects.toMatchObject({ name: "AbortError", cause: "enough" });
    expect(vlm.memory().bytes).toBe(before);
    expect((await vlm.chat(q, { images: [card] })).text).toBe("A triangle.");
    const telling = () => {
      throw mistake;
    };
    await expect(InternVL.load(folder, { onProgress: telling })).rejects.toBe(mistake);
  });

  it("kvBytes without room for one row is refused, with the least that is needed", async () => {
    const least = partsOf(vlm).model.slotBytes(256);
    await expect(vlm.batch([good], { kvBytes: 1 })).rejects.toThrow(`kvBytes is 1, one row of 256 tokens needs ${least}`);
    await expect(vlm.batch([good], { kvBytes: least - 1 })).rejects.toMatchObject({ code: "bad-input" });
    await expect(vlm.batch([good], { maxContext: 257 })).rejects.toThrow("maxContext is 257, the model has room for 256 tokens");
    expect(await vlm.batch([good], { kvBytes: least })).toMatchObject([{ text: "A triangle." }]);
    expect(await vlm.batch([good], { kvBytes: null as never, rows: null as never })).toMatchObject([{ text: "A triangle." }]);
  });

  it("give onResult all of a history, and keep what the caller gave to the end", async () => {
    const blob = new Blob([readFileSync(card)]);
    const item: BatchItem = { prompt: [q, "What color is it?"], images: [blob], maxTokens: 4 };
    const told: BatchResult[] = [];
    const [kept] = await vlm.batch([item], { onResult: (result) => void told.push(result) });
    expect(partOf(kept!).image).toBe(blob);
    expect(() => JSON.stringify(kept)).toThrow(EngineError);
    expect(JSON.parse(JSON.stringify(told[0])).history[0].content[0].image).toMatch(/^data:image\/png;base64,/);
    const [whole] = await vlm.batch([item]);
    for (const result of [kept!, told[0]!, whole!]) {
      if ("error" in result) throw result.error;
      const history = result === kept ? result.history : JSON.parse(JSON.stringify(result.history));
      const next = await vlm.chat("Why?", { history, maxTokens: 2 });
      expect(next.promptTokenIds.length).toBeGreaterThan(result.promptTokenIds.length);
      expect(next.promptTokenIds.slice(0, result.promptTokenIds.length)).toEqual(result.promptTokenIds);
    }
  });

  it("hold nothing of their pictures once they are done", async (context) => {
    context.skip(isQuick, `dozens of pictures: ${ELSEWHERE}`);
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const held = (): number => {
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const side = 448;
    const item = (i: number): BatchItem => ({
      prompt: q,
      maxTiles: 1,
      maxTokens: 1,
      images: [
        {
          get data() {
            return new Uint8Array(side * side * 3).fill(i);
          },
          width: side,
          height: side,
          channels: 3,
        },
      ],
    });
    const run = (count: number) =>
      vlm.batch(
        Array.from({ length: count }, (_, i) => item(i)),
        { onResult: () => {} },
      );
    await run(8);
    const before = held();
    const count = 60;
    const results = await run(count);
    expect(results.filter((result) => "error" in result)).toEqual([]);
    // What was collected is given back beside the program.
    await expect.poll(() => held() - before).toBeLessThan((count * side * side * 3) / 2);
  });
});
