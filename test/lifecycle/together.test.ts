import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { type ChatOptions, type ChatResult, EngineError, InternVL } from "../../src/index.ts";
import { platform } from "../../src/platform/node.ts";
import { codeOf, expectNoUnhandled } from "../shared/failures.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const image = (name: string) => `${folder}/images/${name}.png`;
const STORY = "Can you tell me a story?";
const LONG = "What shape is it? ".repeat(120);

expectNoUnhandled();

const ASKS: readonly [string, ChatOptions][] = [
  ["<image>\nWhat shape is it?", { images: [image("card-1")] }],
  ["<image>\nWhat number is on it?", { images: [image("badge-1")] }],
  ["Image-1: <image>\nImage-2: <image>\nCompare them.", { images: [image("card-1"), image("card-2")] }],
  [STORY, {}],
  [STORY, { temperature: 1.5, seed: 9 }],
  [STORY, { temperature: 2, topK: 20, topP: 0.9, seed: 4 }],
  ["Hello, who are you?", { repetitionPenalty: 1.3 }],
  ["Hello, who are you?", { temperature: 1, seed: 9, repetitionPenalty: 1.2 }],
  [LONG, { maxTokens: 3 }],
];

describe("chats at the same time", () => {
  let vlm: InternVL;
  let expected: ChatResult[];
  const ask = (i: number, more: ChatOptions = {}) => vlm.chat(ASKS[i]![0], { maxTokens: 12, ...ASKS[i]![1], ...more });
  const idle = () => partsOf(vlm).scheduler.alone(async () => {});
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { maxContext: 1024 });
    expected = [];
    for (const i of ASKS.keys()) expected.push(await ask(i));
  });
  afterAll(() => vlm.dispose());

  it("have the ids that they have alone, greedy or drawn, whoever comes, leaves and is aborted when; memory comes back", async () => {
    const before = vlm.memory().bytes;
    const { counters } = partsOf(vlm).gpu;
    const { decodeSteps } = counters;
    let ids = 0;
    let answering = 0;
    const arrival = fc.record({
      which: fc.nat({ max: ASKS.length - 1 }),
      wait: fc.constantFrom(0, 0, 1, 2, 6), // steps of those that are there
      abortAfter: fc.option(fc.nat({ max: 4 }), { nil: undefined, freq: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { minLength: 2, maxLength: 6 }), async (arrivals) => {
        const running: Promise<void>[] = [];
        for (const { which, wait, abortAfter } of arrivals) {
          const { decodeSteps: steps } = counters;
          while (counters.decodeSteps < steps + wait && answering > 0) await new Promise((resolve) => setImmediate(resolve));
          const { text, tokenIds } = expected[which]!;
          const abort = new AbortController();
          const reply = ask(which, { signal: abort.signal });
          const follow = async () => {
            let pieces = 0;
            let streamed = "";
            if (abortAfter === 0) abort.abort();
            answering++;
            try {
              for await (const piece of reply) {
                streamed += piece;
                if (++pieces === abortAfter) abort.abort();
              }
              const result = await reply;
              expect(result.tokenIds).toEqual(tokenIds);
              expect(streamed).toBe(text);
            } catch (error) {
              expect(error).toMatchObject({ code: "aborted", partialText: streamed });
              expect(abortAfter).toBeDefined();
              expect(text.startsWith(streamed)).toBe(true);
            }
            answering--;
            ids += tokenIds.length;
          };
          running.push(follow());
        }
        await Promise.all(running);
      }),
      { numRuns: isQuick ? 3 : 20, seed: 12 },
    );
    expect(counters.decodeSteps - decodeSteps).toBeLessThan(ids); // several ids a step
    await idle();
    expect(vlm.memory().bytes).toBe(before);
  });

  it("a batch and a session decode with them", async (context) => {
    context.skip(isQuick, `the same in other company: ${ELSEWHERE}`);
    const session = vlm.session();
    const [results, first, second, ...chats] = await Promise.all([
      vlm.batch(
        ASKS.map(([prompt, options]) => ({ prompt, maxTokens: 12, ...options })),
        { rows: 3 },
      ),
      session.send(ASKS[0]![0], { ...ASKS[0]![1], maxTokens: 12 }),
      session.send("What color is it?", { maxTokens: 4 }),
      ...[3, 4, 0].map((i) => ask(i)),
    ]);
    for (const [i, { tokenIds }] of expected.entries()) expect(results[i]).toMatchObject({ tokenIds });
    expect(first.tokenIds).toEqual(expected[0]!.tokenIds);
    expect((await vlm.chat("What color is it?", { history: first.history, maxTokens: 4 })).tokenIds).toEqual(second.tokenIds);
    expect(chats.map(({ tokenIds }) => tokenIds)).toEqual([3, 4, 0].map((i) => expected[i]!.tokenIds));
  });

  it("a long prompt lets the others go on", async (context) => {
    context.skip(isQuick, `long prompts with large pictures: ${ELSEWHERE}`);
    const gaps = async (other: () => PromiseLike<unknown>) => {
      const reply = vlm.chat(STORY, { maxTokens: 200, temperature: 1, seed: 3 });
      let last: number | undefined;
      let longest = 0;
      let during = 0;
      let busy = false;
      for await (const _ of reply) {
        const now = performance.now();
        if (last === undefined) {
          busy = true;
          Promise.resolve(other()).then(() => {
            busy = false;
          });
        } else longest = Math.max(longest, now - last);
        if (busy) during++;
        last = now;
      }
      return { longest, during };
    };
    const picture = { data: new Uint8Array(448 * 448 * 12 * 3), width: 448 * 4, height: 448 * 3, channels: 3 as const };
    await vlm.chat("Hi", { images: [picture], maxTokens: 1 });
    const none = await gaps(async () => {});
    const others = [
      () => vlm.chat(LONG, { images: [picture], maxTokens: 1 }),
      () => vlm.chat(`${LONG} Now.`, { maxTokens: 1, system: "Another beginning." }),
    ];
    for (const other of others) {
      const began = performance.now();
      const alone = await Promise.resolve(other()).then(() => performance.now() - began);
      await vlm.chat("Hi", { maxTokens: 1, system: "Yet another." });
      const { longest, during } = await gaps(other);
      console.log(
        `longest gap on ${vlm.adapter}: ${longest.toFixed(0)} ms, alone ${none.longest.toFixed(0)} ms; the other prompt takes ${alone.toFixed(0)} ms`,
      );
      expect(during).toBeGreaterThan(3); // of its pieces came while the other was prefilled
    }
  });

  it("dispose waits for what is under way, and refuses what comes meanwhile", async () => {
    const other = await InternVL.load(folder, { maxContext: 512 });
    const { gpu } = partsOf(other);
    const replies = Array.from({ length: 10 }, () => other.chat(STORY));
    for await (const _ of replies[0]!) break; // leaves, and has begun
    const disposed = other.dispose();
    expect(await codeOf(other.chat(STORY))).toBe("disposed");
    await disposed;
    expect(gpu.memory.entries()).toEqual([]);
    expect(await Promise.all(replies.map(codeOf))).toEqual(["aborted", ...Array(9).fill("no error")]);
  });
});

describe("slots and kvBytes", () => {
  it("bound how many there are; a slot that was named keeps what it holds", async (context) => {
    context.skip(isQuick, `five models more: ${ELSEWHERE}`);
    const load = (options: object) => InternVL.load(folder, { maxContext: 256, ...options });
    expect(await codeOf(load({ slots: 0 }))).toBe("bad-input");
    await expect(load({ slots: 9 })).rejects.toThrow("slots is 9, needs an integer from 1 to 8");
    await expect(load({ slot: 2 })).rejects.toThrow('load has no option "slot"; did you mean "slots"?');
    const vlm = await load({ slots: 3 });
    const { model, scheduler } = partsOf(vlm);
    const each = model.slotBytes(256);
    await expect(load({ kvBytes: each - 1 })).rejects.toThrow(`kvBytes is ${each - 1}, one slot of 256 tokens needs ${each}`);
    const kv = () => vlm.memory().entries.reduce((sum, { label, bytes }) => sum + (label.startsWith("kv.") ? bytes : 0), 0);
    expect([scheduler.most, kv()]).toEqual([3, each]);
    const sessions = ["a", "b", "c", "d"].map((letter) => vlm.session({ system: `You are ${letter}.` }));
    await Promise.all(sessions.slice(0, 3).map((session) => session.send(STORY, { maxTokens: 8 })));
    expect(kv()).toBe(3 * each);
    for (const session of sessions.slice(0, 3)) {
      const { usage } = await session.send("And then?", { maxTokens: 2 });
      expect(usage.cachedTokens).toBeGreaterThan(usage.prefilledTokens);
    }
    await vlm.dispose();

    // Memory runs out in the middle of taking it: those who come wait for the slots that there are.
    const full = await load({});
    const { memory } = partsOf(full).gpu;
    const [create, before] = [memory.create.bind(memory), full.memory().bytes];
    memory.create = (label, ...size) => {
      if (label === "kv.1.values") throw new EngineError("out-of-memory", "full");
      return create(label, ...size);
    };
    const answers = await Promise.all([1, 2, 3].map(() => full.chat(STORY, { maxTokens: 5 })));
    expect(new Set(answers.map(({ tokenIds }) => tokenIds.join())).size).toBe(1);
    expect([partsOf(full).scheduler.most, full.memory().bytes]).toEqual([1, before]);
    await full.dispose();
    const tight = await load({});
    const available = platform.availableMemory;
    platform.availableMemory = () => each - 1;
    await Promise.all([1, 2].map(() => tight.chat(STORY, { maxTokens: 5 })));
    platform.availableMemory = available;
    expect(partsOf(tight).scheduler.most).toBe(1);
    await tight.dispose();

    const two = await load({ kvBytes: 2 * each + 5 });
    expect(partsOf(two).scheduler.most).toBe(2);
    const texts = await Promise.all([1, 2, 3, 4].map(() => two.chat(STORY, { maxTokens: 5 })));
    expect(new Set(texts.map(({ tokenIds }) => tokenIds.join())).size).toBe(1);
    await two.dispose();
  });
});
