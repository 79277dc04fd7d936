import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { InternVL, type Progress, type PromptProgress } from "../../src/index.ts";
import { failureOf as codeOf } from "../shared/failures.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const card = `${folder}/images/card-1.png`;
const QUESTION = "<image>\nWhat shape is it?";
const ANSWER = "A triangle.";

describe("chat", () => {
  let vlm: InternVL;
  const progress: Progress[] = [];
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { onProgress: (p) => progress.push(p) });
  });
  afterAll(() => vlm.dispose());

  it("tells its progress, monotone within a phase, ending with ready", () => {
    expect(progress.at(-1)).toEqual({ phase: "ready", loaded: 1, total: 1 });
    const upload = progress.filter(({ phase }) => phase === "upload");
    expect(upload.at(-1)!.loaded).toBe(upload.at(-1)!.total);
    for (let i = 1; i < upload.length; i++) expect(upload[i]!.loaded).toBeGreaterThanOrEqual(upload[i - 1]!.loaded);
    expect([...new Set(progress.map(({ phase }) => phase))]).toEqual(["resolve", "upload", "compile", "ready"]);
  });

  it("can be iterated, awaited, and both in any order", async () => {
    const reply = vlm.chat(QUESTION, { images: [card] });
    const { text, usage } = await reply;
    expect(text).toBe(ANSWER);
    expect(usage).toEqual({ promptTokens: 42, completionTokens: 4, totalTokens: 46, prefilledTokens: 42, cachedTokens: 0 });
    let streamed = "";
    for await (const piece of reply) streamed += piece;
    expect(streamed).toBe(ANSWER);
    let again = "";
    for await (const piece of reply) again += piece;
    expect(again).toBe(ANSWER);
  });

  it("tells how far its prompt is: tiles, then tokens; what is in a cache is not told", async () => {
    const told: PromptProgress[] = [];
    const onProgress = (progress: PromptProgress) => void told.push(progress);
    // One tile each, and at most four are encoded at once, in even groups.
    const images = ["walk-1", "walk-2", "walk-3", "walk-4", "ball-1"].map((name) => `${folder}/images/${name}.png`);
    const { usage, history } = await vlm.chat("What color is it?", { images, onProgress });
    const of = (phase: string) => told.filter((each) => each.phase === phase);
    expect(told).toEqual([...of("vision"), ...of("prefill")]);
    expect(of("vision").map(({ loaded, total }) => [loaded, total])).toEqual([
      [0, 5],
      [3, 5],
      [5, 5],
    ]);
    const tokens = of("prefill");
    expect(tokens[0]).toEqual({ phase: "prefill", loaded: 0, total: usage.prefilledTokens });
    expect(tokens.at(-1)).toEqual({ phase: "prefill", loaded: usage.prefilledTokens, total: usage.prefilledTokens });
    told.length = 0;
    const again = await vlm.session({ history }).send("And what shape?", { onProgress });
    expect(told.at(-1)).toEqual({ phase: "prefill", loaded: again.usage.prefilledTokens, total: again.usage.prefilledTokens });
    expect(of("vision")).toEqual([]);
  });

  it("gives out what its onProgress throws as it is, and answers the next question", async () => {
    const mistake = new TypeError("the caller's own");
    const throwing = () => {
      throw mistake;
    };
    await expect(vlm.chat(QUESTION, { images: [card], onProgress: throwing })).rejects.toBe(mistake);
    expect((await vlm.chat(QUESTION, { images: [card] })).text).toBe(ANSWER);
  });

  it("takes every kind of image that Node has, with the same answer", async () => {
    const bytes = new Uint8Array(readFileSync(card));
    const url = `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`;
    const { decodeImage } = await import("../../src/media/decode.ts");
    const rgb = await decodeImage(bytes);
    const kinds = [card, bytes, bytes.buffer, new Blob([bytes]), url, new URL(url), new URL(`file://${card}`), { ...rgb, channels: 3 }];
    for (const image of kinds) expect((await vlm.chat(QUESTION, { images: [image] })).text).toBe(ANSWER);
  });

  it("puts <image> in front where it is missing, and takes the model card's history", async () => {
    const first = await vlm.chat("What shape is it?", { images: [card] });
    expect(first.history).toMatchObject([
      {
        role: "user",
        content: [
          { type: "image", image: card },
          { type: "text", text: QUESTION },
        ],
      },
      { role: "assistant", content: ANSWER },
    ]);
    const own = await vlm.chat("What color is the triangle?", { history: first.history });
    const card2 = await vlm.chat("What color is the triangle?", { history: [[QUESTION, ANSWER]], images: [card] });
    expect(card2.promptTokenIds).toEqual(own.promptTokenIds);
    expect(card2.tokenIds).toEqual(own.tokenIds);
  });

  it("two chats at once give what each gives alone", async (context) => {
    context.skip(isQuick, `together.test.ts has many: ${ELSEWHERE}`);
    const both = await Promise.all([vlm.chat(QUESTION, { images: [card] }), vlm.chat("Hello, who are you?")]);
    expect(both[0].text).toBe(ANSWER);
    expect(both[1].tokenIds).toEqual((await vlm.chat("Hello, who are you?")).tokenIds);
  });

  it("stops at maxTokens", async () => {
    const { tokenIds, finishReason } = await vlm.chat(QUESTION, { images: [card], maxTokens: 2 });
    expect(tokenIds).toHaveLength(2);
    expect(finishReason).toBe("length");
  });

  it("aborts by signal, before and during, and works afterwards", async () => {
    expect(await codeOf(vlm.chat(QUESTION, { images: [card], signal: AbortSignal.abort() }))).toMatch(/^aborted/);
    const abort = new AbortController();
    const reply = vlm.chat("Can you tell me a story?", { signal: abort.signal });
    const pieces: string[] = [];
    const iterate = async () => {
      for await (const piece of reply) {
        pieces.push(piece);
        abort.abort();
      }
    };
    expect(await codeOf(iterate())).toMatch(/^aborted/);
    expect(pieces).toHaveLength(1); // not what had come back at once with it either
    expect((await vlm.chat(QUESTION, { images: [card] })).text).toBe(ANSWER);
  });

  it("aborts several answers of a completion: what others had said when one was read does not come", async () => {
    const abort = new AbortController();
    const messages = [{ role: "user" as const, content: "Can you tell me a story?" }];
    const chunks = await vlm.complete({ messages, n: 2, stream: true }, { signal: abort.signal });
    const said = [0, 0];
    const iterate = async () => {
      for await (const { choices } of chunks) {
        expect(abort.signal.aborted).toBe(false);
        const [{ index, delta }] = choices as [(typeof choices)[number]];
        if (delta.content) said[index]!++;
        if (index === 0 && said[0]! > 0 && said[1]! > 0) abort.abort(); // both get a token in every step: the other one's is there
      }
    };
    expect(await codeOf(iterate())).toMatch(/^aborted/);
    expect(partsOf(vlm).scheduler.load.running).toBe(0);
  });

  it("leaving the iteration stops the generation", async () => {
    const reply = vlm.chat("Can you tell me a story?");
    for await (const _ of reply) break;
    expect(await codeOf(reply)).toMatch(/^aborted/);
    expect((await vlm.chat(QUESTION, { images: [card] })).text).toBe(ANSWER);
  });

  it("leaving is heard at once, also by who has not begun to read, or waits for the first piece", async () => {
    const { scheduler } = partsOf(vlm);
    let release = () => {};
    const guest = scheduler.alone(() => new Promise<void>((resolve) => (release = resolve))); // nobody's turn comes
    const [unread, waited] = [vlm.chat("Hello"), vlm.chat("Hello")];
    await unread[Symbol.asyncIterator]().return();
    const pieces = waited[Symbol.asyncIterator]();
    const first = codeOf(pieces.next());
    expect(await pieces.return()).toEqual({ done: true, value: undefined });
    for (const code of [await first, await codeOf(unread), await codeOf(waited)]) expect(code).toMatch(/^aborted/);
    const chunks = await vlm.complete({ messages: [{ role: "user", content: "Hi" }], n: 2, stream: true });
    expect(scheduler.load.waiting).toBe(2);
    await chunks.return();
    expect(scheduler.load.waiting).toBe(0);
    release();
    await guest;
  });

  it("says what is wrong with the input", async () => {
    const cases: [PromiseLike<unknown>, RegExp][] = [
      [vlm.chat("<image> and <image>", { images: [card] }), /^bad-input: .*2 <image>.*1 image/],
      [vlm.chat("<image>", { images: [card, card] }), /^bad-input: .*1 <image>.*2 image/],
      [vlm.chat("<image>"), /^bad-input: .*1 <image>.*0 image/],
      [vlm.chat(QUESTION, { images: [`${folder}/nope.png`] }), /^bad-input: .*nope\.png.*no such file/],
      [vlm.chat(QUESTION, { images: [`${folder}/config.json`] }), /^bad-image: .*PNG or JPEG/],
      [vlm.chat(QUESTION, { images: [{} as never] }), /^bad-input: image 1 is an object without keys, needs a picture/],
      [vlm.chat(QUESTION, { images: [null as never] }), /^bad-input: image 1 is null, needs a picture/],
      [vlm.chat(QUESTION, { images: [[]] }), /^bad-input: image 1 is an empty list/],
      [vlm.chat("What?", { video: [] }), /^bad-input: video is an empty list, needs at least one frame/],
      [vlm.chat("What?", { maxTokens: 0 }), /^bad-input: maxTokens is 0/],
      [vlm.chat("What?", { images: [card], maxTiles: 1.5 }), /^bad-input: maxTiles is 1.5/],
      [vlm.chat(7 as never), /^bad-input: the question is 7, needs a text/],
      [vlm.chat("word ".repeat(5000)), /^context-overflow: the prompt.* \d+ tokens, the context has 2048/],
      [vlm.chat("<IMG_CONTEXT>", { specialTokens: "parse" }), /^bad-input: .*<IMG_CONTEXT>/],
    ];
    for (const [work, expected] of cases) expect(await codeOf(work)).toMatch(expected);
  });

  it("creates nothing per token: the ledger after a long answer is the ledger before it", async () => {
    await vlm.chat(QUESTION, { images: [card] });
    const before = vlm.memory();
    const pipelines = partsOf(vlm).gpu.kernels.count;
    await vlm.chat("Can you tell me a story?");
    expect(vlm.memory()).toEqual(before);
    expect(partsOf(vlm).gpu.kernels.count).toBe(pipelines);
  });
});

describe("loading and disposing", () => {
  it("dispose waits for what runs, empties the ledger, and the model says so afterwards", async () => {
    const vlm = await InternVL.load(folder, { maxContext: 256 });
    const { gpu } = partsOf(vlm);
    const running = vlm.chat("Hello, who are you?");
    await running;
    await vlm.dispose();
    await vlm.dispose();
    expect(gpu.memory.entries()).toEqual([]);
    expect(gpu.memory.bytes).toBe(0);
    expect(await codeOf(vlm.chat("Hello"))).toMatch(/^disposed/);
  });

  it("a lost device rejects with device-lost, and loading works again", async () => {
    const vlm = await InternVL.load(folder, { maxContext: 256 });
    const { gpu } = partsOf(vlm);
    const reply = vlm.chat("Can you tell me a story?");
    const iterate = async () => {
      for await (const _ of reply) gpu.device.destroy();
    };
    expect(await codeOf(iterate())).toMatch(/^device-lost/);
    await vlm.dispose();
    const next = await InternVL.load(folder, { maxContext: 256 });
    expect((await next.chat(QUESTION, { images: [card] })).text).toBe(ANSWER);
    await next.dispose();
  });

  it("an aborted load rejects with aborted", async () => {
    expect(await codeOf(InternVL.load(folder, { signal: AbortSignal.abort() }))).toMatch(/^aborted/);
    const abort = new AbortController();
    expect(
      await codeOf(InternVL.load(folder, { signal: abort.signal, onProgress: ({ phase }) => phase === "upload" && abort.abort() })),
    ).toMatch(/^aborted/);
  });

  it("refuses options that make no sense", async () => {
    expect(await codeOf(InternVL.load(folder, { maxContext: 4096 }))).toMatch(/^bad-input: maxContext is 4096, this model has 2048/);
    expect(await codeOf(InternVL.load(folder, { maxContext: 0 }))).toMatch(/^bad-input: maxContext is 0/);
    expect(await codeOf(InternVL.load(folder, { weights: "q3" as never }))).toMatch(/^bad-input: weights is "q3"/);
    expect(await codeOf(InternVL.load(folder, { device: { adapter: "no such adapter" } }))).toMatch(/^no-adapter: .*no such adapter/);
    expect(await codeOf(InternVL.load("/no/such/folder"))).toMatch(/^bad-input: there is no folder/);
  });
});
