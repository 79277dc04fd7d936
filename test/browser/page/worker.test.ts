import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InternVLWorker } from "../../../src/api/worker.ts";
import { type ChatReply, type ChatResult, type ImageLike, InternVL, type Progress } from "../../../src/index.ts";
import { memoryFiles } from "../../shared/checkpoints.ts";
import { conversationsOf } from "../../shared/nano.ts";
import { calledInPage, nanoFiles, pictureFile, readRepository } from "./support.ts";

const conversations = await conversationsOf(readRepository);
const DETAIL = conversations.find(({ id }) => id === "two-round-003")!; // long answers, two turns
const path = DETAIL.images[0] as string;

/** A canvas that shows a bitmap. */
function canvasOf(bitmap: ImageBitmap): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  return canvas;
}

describe("InternVLWorker", () => {
  let vlm: InternVL;
  const progress: Progress[] = [];

  beforeAll(async () => {
    vlm = await InternVL.load(await nanoFiles(), { worker: true, onProgress: (step) => progress.push(step) });
    expect(vlm).toBeInstanceOf(InternVLWorker);
  });
  afterAll(() => vlm?.dispose());

  it("reports progress, adapter and memory", () => {
    expect(progress.at(-1)!.phase).toBe("ready");
    const uploads = progress.filter(({ phase }) => phase === "upload").map(({ loaded }) => loaded);
    expect(uploads.length).toBeGreaterThanOrEqual(2); // the first and the last, and some between where it takes longer
    expect(uploads).toEqual([...uploads].sort((a, b) => a - b));
    expect(vlm.adapter).toMatch(/./);
    expect(vlm.memory().bytes).toBeGreaterThan(1e6);
    expect(vlm.memory().entries.length).toBeGreaterThan(10);
  });

  it("streams both turns of a conversation while the page computes nothing of it", async () => {
    const images = [await pictureFile(path)];
    const told: string[] = [];
    const pieces: string[] = [];
    let first!: ChatReply;
    const called = await calledInPage(async () => {
      first = vlm.chat(DETAIL.turns[0]!, { images, maxTiles: DETAIL.maxTiles, onProgress: ({ phase }) => told.push(phase) });
      for await (const piece of first) pieces.push(piece);
    });
    const { text, tokenIds, promptTokenIds, history, finishReason, usage, timings } = await first;
    expect(called).toContain("api/worker.ts");
    expect(called.filter((path) => /^(generate|gpu|media|model|ops|text|weights)\//.test(path))).toEqual([]);
    expect([...new Set(told)]).toEqual(["vision", "prefill"]);

    expect(pieces.length).toBeGreaterThan(5);
    expect(pieces.join("").trim()).toBe(text);
    expect(text).toBe(DETAIL.answers[0]);
    expect(tokenIds).toEqual(DETAIL.tokenIds[0]);
    expect(promptTokenIds).toEqual(DETAIL.inputIds[0]);
    expect(finishReason).toBe("stop");
    expect(usage.completionTokens).toBe(tokenIds.length);
    expect(timings.firstToken).toBeGreaterThan(0);
    const second = await vlm.chat(DETAIL.turns[1]!, { history, maxTiles: DETAIL.maxTiles });
    expect(second.tokenIds).toEqual(DETAIL.tokenIds[1]);
    expect(second.history.length).toBe(4);
  });

  it("completes requests in OpenAI's form, in chunks and whole", async () => {
    const request = { messages: [{ role: "user" as const, content: "What can you do?" }], temperature: 0, max_tokens: 5 };
    const { choices } = await vlm.complete({ ...request, stream: false });
    let text = "";
    for await (const chunk of await vlm.complete({ ...request, stream: true })) text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe(choices[0]!.message.content);
    expect(text).not.toBe("");
    await expect(vlm.complete({ ...request, temperature: 9 })).rejects.toMatchObject({ code: "bad-input", param: "temperature" });
  });

  it("takes what belongs to the page: elements and canvases are sent, what the caller holds stays usable", async () => {
    const file = await pictureFile("images/card-1.png");
    const bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    const canvas = canvasOf(bitmap);
    const img = new Image();
    img.src = URL.createObjectURL(file);
    const images: ImageLike[] = [bitmap, canvas, img, new URL(img.src)];
    for (const image of images) {
      const { text } = await vlm.chat("What shape is it?", { images: [image] });
      expect(text).toBe("A triangle.");
    }
    expect(bitmap.width).toBeGreaterThan(0);
  });

  it("keeps a session and answers a batch, one bad item beside good ones", async () => {
    const image = await pictureFile(path);
    const session = vlm.session();
    expect((await session.send(DETAIL.turns[0]!, { images: [image] })).tokenIds).toEqual(DETAIL.tokenIds[0]);
    expect((await session.send(DETAIL.turns[1]!)).tokenIds).toEqual(DETAIL.tokenIds[1]);
    expect(session.history.length).toBe(4);
    const done: number[] = [];
    const items = [
      { prompt: DETAIL.turns, images: [image] },
      { prompt: "<image>\n<image>\nHi", images: [image] },
    ];
    const [good, bad] = await vlm.batch(items, { onResult: (_, index) => done.push(index) });
    expect(good).toMatchObject({ tokenIds: DETAIL.tokenIds[1] });
    expect(bad).toMatchObject({ error: { name: "EngineError", code: "bad-input" } });
    expect(done.sort()).toEqual([0, 1]);
    expect(vlm.weights).toBe("bf16");
  });

  it("stops at the signal, and where the iteration is left; the model stays usable", async () => {
    const images = [await pictureFile(path)];
    const abort = new AbortController();
    const stopped = vlm.chat(DETAIL.turns[0]!, { images, signal: abort.signal });
    for await (const _ of stopped) {
      abort.abort();
      break;
    }
    await expect(Promise.resolve(stopped)).rejects.toMatchObject({ name: "AbortError", code: "aborted" });
    const reasoned = new AbortController();
    const cut = vlm.chat(DETAIL.turns[0]!, { images, signal: reasoned.signal });
    let told = "";
    const stop = (async () => {
      for await (const piece of cut) {
        told += piece;
        reasoned.abort("enough");
      }
    })();
    await expect(stop).rejects.toMatchObject({ name: "AbortError", cause: "enough" });
    await expect(cut).rejects.toMatchObject({ partialText: told });
    const left = vlm.chat(DETAIL.turns[0]!, { images });
    for await (const _ of left) break;
    await expect(Promise.resolve(left)).rejects.toMatchObject({ code: "aborted" });
    await expect(Promise.resolve(vlm.chat("Hi", { signal: abort.signal }))).rejects.toMatchObject({ code: "aborted" });
    expect((await vlm.chat("What shape is orange?", { images })).text).toBe("A cross.");
  });

  it("errors keep their code, message and hint", async () => {
    const broken = new Blob([new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0, 0])]);
    const failed = Promise.resolve(vlm.chat("What is it?", { images: [broken] }));
    await expect(failed).rejects.toMatchObject({ name: "EngineError", code: "bad-image", hint: expect.any(String) });
    await expect(failed).rejects.toThrow(/^image 1: /);
    await expect(Promise.resolve(vlm.chat("<image>\n<image>\nHi", { images: [await pictureFile(path)] }))).rejects.toMatchObject({
      code: "bad-input",
    });
    await expect(Promise.resolve(vlm.chat("Hi", { system: (() => "") as never }))).rejects.toMatchObject({ code: "bad-input" });
    await expect(Promise.resolve(vlm.chat("Hi", { images: [document.createElement("canvas")], maxTiles: 0 }))).rejects.toMatchObject({
      code: "bad-input",
    });
  });

  it("takes messages and gives a history that goes on here, as JSON, and after cloning", async () => {
    const file = await pictureFile("images/card-1.png");
    const bitmap = await createImageBitmap(file, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
    const canvas = canvasOf(bitmap);
    const address = URL.createObjectURL(file);
    const expected = await vlm.chat("What color is it?", {
      history: (await vlm.chat("What shape is it?", { images: [file] })).history,
      maxTokens: 4,
    });
    for (const image of [file, bitmap, canvas, address, new Uint8Array(await file.arrayBuffer())]) {
      const text = { type: "text", text: "What shape is it?" } as const;
      const first = await vlm.chat([{ role: "user", content: [{ type: "image", image }, text] }]);
      expect(first.text).toBe("A triangle.");
      for (const history of [first.history, JSON.parse(JSON.stringify(first.history)), structuredClone(first.history)]) {
        const second = await vlm.chat("What color is it?", { history, maxTokens: 4 });
        expect(second.promptTokenIds).toEqual(expected.promptTokenIds);
        expect(second.tokenIds).toEqual(expected.tokenIds);
        expect(JSON.stringify(second.history).length).toBeLessThan(image === bitmap || image === canvas ? 100_000 : 8_000);
      }
      const session = vlm.session({ history: first.history });
      expect((await session.send("What color is it?", { maxTokens: 4 })).tokenIds).toEqual(expected.tokenIds);
    }
  });

  it("refuses in the page what it does not know", async () => {
    await expect(vlm.chat("Hi", { image: "a.png" } as never)).rejects.toThrow('chat has no option "image"; did you mean "images"?');
    await expect(vlm.chat("Hi", { images: [null as never] })).rejects.toThrow("image 1 is null, needs a picture");
    await expect(vlm.chat("Hi", { signal: {} as never })).rejects.toMatchObject({ code: "bad-input" });
    expect(() => vlm.session({ system: 5 } as never)).toThrow("system is 5, needs a text");
    await expect(vlm.batch([{ prompt: "Hi" }], { kvBytes: 1 })).rejects.toThrow("kvBytes is 1, one row of");
    await expect(vlm.batch("Hi" as never)).rejects.toMatchObject({ code: "bad-input" });
    for (const options of [{ dtype: "q4" }, { device: "llvmpipe" }, { worker: "a.js" }, { fetch }]) {
      await expect(InternVLWorker.load("x", options as never)).rejects.toMatchObject({ code: "bad-input" });
    }
  });

  it("a batch: a bad item fails alone, an error of the page's own callback is that error", async () => {
    const image = await pictureFile("images/card-1.png");
    const items = [{ prompt: "What shape is it?", images: [image] }, { prompt: "Hi", image } as never, null as never];
    const told: number[] = [];
    const results = await vlm.batch(items, { maxTokens: 8, onResult: (_, index) => void told.push(index) });
    expect(results[0]).toMatchObject({ text: "A triangle." });
    expect(results.slice(1)).toMatchObject([{ error: { code: "bad-input" } }, { error: { code: "bad-input" } }]);
    expect(told.sort()).toEqual([0, 1, 2]);
    expect((results[0] as ChatResult).history[0]!.content[0]).toMatchObject({ image }); // the page's own file
    const mistake = new TypeError("a mistake of the page");
    const throwing = () => {
      throw mistake;
    };
    await expect(vlm.batch(items, { onResult: throwing })).rejects.toBe(mistake);
    await expect(vlm.batch([items[0]!], { onResult: throwing })).rejects.toBe(mistake);
    await expect(InternVLWorker.load(await nanoFiles(), { onProgress: throwing })).rejects.toBe(mistake);
    expect((await vlm.chat("What shape is it?", { images: [image] })).text).toBe("A triangle.");
  });

  it("dispose waits for what is under way and refuses what comes after", async () => {
    const reply = vlm.chat("Hello, who are you?");
    await reply[Symbol.asyncIterator]().next();
    await vlm.dispose();
    await vlm.dispose();
    expect((await reply).finishReason).toBe("stop");
    await expect(Promise.resolve(vlm.chat("Hi"))).rejects.toMatchObject({ code: "disposed" });
    expect(() => vlm.memory()).toThrow("this model was disposed");
  });
});

describe("InternVLWorker.load", () => {
  it("rejects as InternVL.load does", async () => {
    await expect(InternVLWorker.load(memoryFiles({}))).rejects.toMatchObject({ code: "bad-weights" });
    await expect(InternVLWorker.load("no-such-folder")).rejects.toMatchObject({ name: "EngineError" });
    const failing = { open: () => Promise.reject(new Error("the disk is on fire")) };
    await expect(InternVLWorker.load(failing)).rejects.toThrow("the disk is on fire");
  });

  it("is aborted by its signal", async () => {
    const abort = new AbortController();
    const loading = InternVLWorker.load(await nanoFiles(), { signal: abort.signal, onProgress: () => abort.abort() });
    await expect(loading).rejects.toMatchObject({ code: "aborted" });
    await expect(InternVLWorker.load(await nanoFiles(), { signal: abort.signal })).rejects.toMatchObject({ code: "aborted" });
  });

  it("says when the worker's script does not load", async () => {
    const worker = new Worker(URL.createObjectURL(new Blob(["import 'no-such-module'"], { type: "text/javascript" })), { type: "module" });
    await expect(InternVLWorker.load("x", { worker })).rejects.toMatchObject({ code: "network" });
  });
});
