import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { type BatchFailure, type BatchItem, EngineError, InternVL } from "../../src/index.ts";
import { codeOf, expectNoUnhandled } from "../shared/failures.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const image = (name: string) => `${folder}/images/${name}`;
const STORY = "Can you tell me a story?";

expectNoUnhandled();

const items: BatchItem[] = [
  { prompt: "<image>\nWhat shape is it?", images: [image("card-1.png")] },
  { prompt: STORY },
  { prompt: "What shape is it?", images: [image("nope.png")] },
  { prompt: ["<image>\nWhat shape is it?", "What color is it?"], images: [image("card-2.png")] },
  { prompt: "Hello, who are you?", maxTokens: 3 },
  { prompt: "<image> and <image>", images: [image("card-1.png")] },
  { prompt: STORY, temperature: 1.5, seed: 9, maxTokens: 10 },
  { prompt: "<image>\nWhat number is on it?", images: [image("badge-1.png")] },
];

describe("batch", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { maxContext: 512 });
  });
  afterAll(() => vlm.dispose());

  it("answers each item as if it were alone; a bad one fails alone; rows join and leave", async () => {
    const before = vlm.memory().bytes;
    const order: number[] = [];
    const steps = partsOf(vlm).gpu.counters.decodeSteps;
    const results = await vlm.batch(items, { rows: 3, maxTokens: 16, onResult: (_, index) => order.push(index) });
    const together = partsOf(vlm).gpu.counters.decodeSteps - steps;
    expect(vlm.memory().bytes).toBe(before); // its caches are gone
    expect([...order].sort((a, b) => a - b)).toEqual([...items.keys()]);
    const good = results.flatMap((result, i) => ("turns" in result ? [{ result, item: items[i]! }] : []));
    expect(results.map((result) => ("error" in result ? result.error.code : "ok"))).toEqual([
      "ok",
      "ok",
      "bad-input",
      "ok",
      "ok",
      "bad-input",
      "ok",
      "ok",
    ]);
    let ids = 0;
    for (const { result, item } of good) {
      const { prompt, ...options } = item;
      let history: typeof result.history | undefined;
      for (const [i, question] of ([prompt].flat() as string[]).entries()) {
        const alone = await vlm.chat(question, { maxTokens: 16, ...options, ...(history ? { history, images: undefined } : {}) });
        expect(result.turns[i]!.tokenIds).toEqual(alone.tokenIds);
        expect(result.turns[i]!.text).toBe(alone.text);
        expect(result.turns[i]!.finishReason).toBe(alone.finishReason);
        ids += alone.tokenIds.length;
        history = alone.history;
      }
      expect(result.history).toHaveLength(2 * result.turns.length);
    }
    expect(together).toBeLessThan(ids); // several ids a step
    // The conversation's second turn found its first in its row.
    const { usage } = (results[3] as { turns: { usage: { cachedTokens: number } }[] }).turns[1]!;
    expect(usage.cachedTokens).toBeGreaterThan(40);
  });

  it("lets a chat have its turn in between", async () => {
    let done = 0;
    const question = "Hello, who are you?"; // no picture: to decode one takes as long as it takes
    const { tokenIds } = await vlm.chat(question, { maxTokens: 4 });
    const batch = vlm.batch(
      Array.from({ length: 6 }, () => ({ prompt: STORY, maxTokens: 12 })),
      { rows: 2, onResult: () => done++ },
    );
    expect((await vlm.chat(question, { maxTokens: 4 })).tokenIds).toEqual(tokenIds);
    expect(done).toBeLessThan(6);
    const results = await batch;
    const first = results[0] as { tokenIds: number[] };
    expect(results.every((result) => "turns" in result && result.tokenIds.join() === first.tokenIds.join())).toBe(true);
  });

  it("says what is wrong with the call, and takes an empty list", async () => {
    expect(await vlm.batch([])).toEqual([]);
    expect(await codeOf(vlm.batch([{ prompt: "a" }], { temperature: -1 }))).toBe("bad-input");
    expect(await codeOf(vlm.batch([{ prompt: "a" }], { rows: 0 }))).toBe("bad-input");
    const [empty, none] = await vlm.batch([{ prompt: [] }, null as never]);
    for (const result of [empty, none]) {
      expect(result).toMatchObject({ error: { code: "bad-input" } });
      const { error } = result as BatchFailure;
      const { message } = error;
      expect(JSON.parse(JSON.stringify(result))).toMatchObject({ error: { name: "EngineError", code: "bad-input", message } });
      const plain = structuredClone(error.toJSON()); // as `postMessage` has it: of the error itself there would be no code
      const again = new EngineError(plain.code, plain.message, plain);
      expect({ ...again, message: again.message }).toEqual({ ...error, message });
    }
  });

  it("an abort, or a callback that throws, ends the whole batch; the model stays usable and its memory flat", async () => {
    const before = vlm.memory().bytes;
    const abort = new AbortController();
    const many = Array.from({ length: 8 }, () => ({ prompt: STORY, maxTokens: 8 }));
    expect(await codeOf(vlm.batch(many, { rows: 2, signal: abort.signal, onResult: () => abort.abort() }))).toBe("aborted");
    const mistake = new Error("a mistake of the caller");
    const throwing = vlm.batch(many, {
      rows: 2,
      onResult: () => {
        throw mistake;
      },
    });
    await expect(throwing).rejects.toBe(mistake);
    expect(await codeOf(vlm.batch(many, { signal: AbortSignal.abort() }))).toBe("aborted");
    expect(vlm.memory().bytes).toBe(before);
    expect((await vlm.chat("<image>\nWhat shape is it?", { images: [image("card-1.png")] })).text).toBe("A triangle.");
  });
});

describe("a model that goes away", () => {
  it("rejects everything in flight with device-lost, and loading works again", async (context) => {
    context.skip(isQuick, `chat.test.ts loses one: ${ELSEWHERE}`);
    const vlm = await InternVL.load(folder, { maxContext: 128 });
    const { gpu } = partsOf(vlm);
    let late: Promise<string> | undefined; // asked once the device is lost
    gpu.device.lost.then(() => {
      late = codeOf(vlm.chat(STORY));
    });
    const work: PromiseLike<unknown>[] = [
      vlm.batch(
        Array.from({ length: 4 }, (_, i) => ({ prompt: STORY, maxTokens: 4 + i })),
        { rows: 2, onResult: () => gpu.device.destroy() },
      ),
      vlm.batch(Array.from({ length: 2 }, () => ({ prompt: STORY }))),
      vlm.session().send(STORY),
      ...Array.from({ length: 3 }, () => vlm.chat(STORY, { temperature: 1, maxTokens: 12 })),
    ];
    const codes = await Promise.all(work.map(codeOf));
    expect(codes[0]).toBe("device-lost");
    for (const code of codes) expect(["device-lost", "no error"]).toContain(code); // some may have been done before
    expect(codes.filter((code) => code === "device-lost").length).toBeGreaterThan(1);
    expect(await late).toBe("device-lost");
    await vlm.dispose();
    expect(gpu.memory.entries()).toEqual([]);
    const next = await InternVL.load(folder, { maxContext: 128 });
    expect((await next.chat("<image>\nWhat shape is it?", { images: [image("card-1.png")] })).text).toBe("A triangle.");
    await next.dispose();
  });

  it("dispose in the middle of a batch: the rest is refused, the ledger is empty", async () => {
    const vlm = await InternVL.load(folder, { maxContext: 128 });
    const { gpu } = partsOf(vlm);
    let disposed: Promise<void> | undefined;
    const batch = vlm.batch(
      Array.from({ length: 8 }, () => ({ prompt: STORY, maxTokens: 8 })),
      {
        rows: 2,
        onResult: () => {
          disposed ??= vlm.dispose();
        },
      },
    );
    expect(await codeOf(batch)).toBe("disposed");
    await disposed;
    expect(gpu.memory.entries()).toEqual([]);
    expect(await codeOf(vlm.chat(STORY))).toBe("disposed");
    expect(await codeOf(vlm.batch([{ prompt: STORY }]))).toBe("disposed");
  });
});
