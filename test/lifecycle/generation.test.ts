import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { type ChatOptions, InternVL, type Message } from "../../src/index.ts";
import { failureOf as codeOf, expectNoUnhandled } from "../shared/failures.ts";
import { isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const card = `${folder}/images/card-1.png`;
const QUESTION = "<image>\nWhat shape is it?";
const STORY = "Can you tell me a story?";

expectNoUnhandled();

describe("generation", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { maxContext: 512 });
  });
  afterAll(() => vlm.dispose());

  const counters = () => ({ ...partsOf(vlm).gpu.counters });
  /** Overwrites the KV cache, so that the next chat finds nothing there but the system message. */
  const forget = () => vlm.chat("Hello", { system: "Other.", maxTokens: 1 });

  it("creates nothing per token and waits for nothing: counted", async () => {
    await vlm.chat(STORY, { temperature: 1, topK: 5, topP: 0.9, repetitionPenalty: 1.1, seed: 1, maxTokens: 2 });
    const before = counters();
    const { tokenIds } = await vlm.chat(STORY, { maxTokens: 30 });
    const after = counters();
    const spent = Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - before[key as keyof typeof before]]));
    expect(tokenIds.length).toBeGreaterThan(10);
    expect(spent).toMatchObject({ bindGroups: 0, buffers: 0, pipelines: 0, awaitedReadbacks: 0, tiles: 0 });
    expect(spent.decodeSteps).toBeGreaterThanOrEqual(tokenIds.length - 1);
    expect(spent.decodeSteps).toBeLessThanOrEqual(tokenIds.length - 1 + 8);
    expect(spent.submits).toBe(spent.decodeSteps! + 2); // prefill and head
  });

  it("stops at the context's end, with as many ids as fit", async () => {
    const { promptTokenIds, tokenIds } = await vlm.chat(STORY);
    const maxContext = promptTokenIds.length + 6;
    const small = await InternVL.load(folder, { maxContext });
    for (let time = 0; time < 2; time++) {
      const { usage, finishReason, ...rest } = await small.chat(STORY);
      expect(rest.tokenIds).toEqual(tokenIds.slice(0, 6));
      expect(finishReason).toBe("length");
      expect(usage.totalTokens).toBe(maxContext);
    }
    expect(await codeOf(small.chat(`${STORY} ${"word ".repeat(6)}`))).toMatch(/^context-overflow/);
    await small.dispose();
  });

  it("a seed gives the same answer, other seeds others; topK 1 is greedy", async () => {
    const ask = (options: ChatOptions) => vlm.chat(STORY, { maxTokens: 12, ...options });
    const greedy = await ask({});
    expect(greedy.seed).toBeUndefined();
    const first = await ask({ temperature: 2, seed: 11 });
    expect(first.seed).toBe(11);
    expect((await ask({ temperature: 2, seed: 11 })).tokenIds).toEqual(first.tokenIds);
    expect((await ask({ temperature: 2, seed: 12 })).tokenIds).not.toEqual(first.tokenIds);
    expect((await ask({ temperature: 2, topK: 1 })).tokenIds).toEqual(greedy.tokenIds);
    expect((await ask({ temperature: 2, topP: 1e-6 })).tokenIds).toEqual(greedy.tokenIds);
    const drawn = await ask({ temperature: 2 });
    expect(drawn.seed).toEqual(expect.any(Number));
    expect((await ask({ temperature: 2, seed: drawn.seed })).tokenIds).toEqual(drawn.tokenIds);
  });

  it("ends exactly before a stop string, wherever tokens begin and end", async () => {
    const { text, tokenIds } = await vlm.chat(STORY);
    expect(text.length).toBeGreaterThan(12);
    for (const [from, to] of [
      [4, 5],
      [5, 9],
      [7, 12],
    ] as const) {
      const stop = text.slice(from, to);
      const reply = vlm.chat(STORY, { stop: ["never in it", stop] });
      let streamed = "";
      for await (const piece of reply) streamed += piece;
      const result = await reply;
      expect(streamed).toBe(text.slice(0, text.indexOf(stop)).trimEnd());
      expect(result.text).toBe(streamed);
      expect(result.finishReason).toBe("stop");
      expect(result.tokenIds).toEqual(tokenIds.slice(0, result.tokenIds.length));
      expect(result.history.at(-1)).toEqual({ role: "assistant", content: streamed });
    }
  });

  it("says what is wrong with an option", async () => {
    const cases: [ChatOptions, RegExp][] = [
      [{ temperature: -1 }, /^bad-input: temperature is -1, needs a number from 0/],
      [{ temperature: Number.NaN }, /^bad-input: temperature is NaN/],
      [{ temperature: "hot" as never }, /^bad-input: temperature is "hot"/],
      [{ topP: 0 }, /^bad-input: topP is 0, needs a number above 0/],
      [{ topP: 1.5 }, /^bad-input: topP is 1.5/],
      [{ topK: 1.5 }, /^bad-input: topK is 1.5, needs an integer/],
      [{ minP: 2 }, /^bad-input: minP is 2/],
      [{ repetitionPenalty: 0 }, /^bad-input: repetitionPenalty is 0/],
      [{ seed: -1 }, /^bad-input: seed is -1, needs an integer from 0 to 2\^53/],
      [{ stop: "" }, /^bad-input: stop is "", needs a text/],
      [{ stop: [7 as never] }, /^bad-input: stop\[0\] is 7, needs a text/],
    ];
    for (const [options, expected] of cases) expect(await codeOf(vlm.chat("What?", options))).toMatch(expected);
  });

  it("a later turn computes only what is new, with the same ids as without the cache", async () => {
    await forget();
    const first = await vlm.chat(QUESTION, { images: [card] });
    const { tiles } = counters();
    const cached = await vlm.chat("What color is the triangle?", { history: first.history });
    expect(counters().tiles).toBe(tiles); // vision did not run again
    const { promptTokens, prefilledTokens, cachedTokens } = cached.usage;
    expect(prefilledTokens + cachedTokens).toBe(promptTokens);
    // Everything up to the first answer's last id, which was never taken in.
    expect(cachedTokens).toBe(first.usage.totalTokens - 1);
    await forget();
    const fresh = await vlm.chat("What color is the triangle?", { history: first.history });
    expect(fresh.usage.prefilledTokens).toBeGreaterThan(prefilledTokens + 20);
    expect(counters().tiles).toBe(tiles); // the picture's visual tokens are still there
    expect(cached.tokenIds).toEqual(fresh.tokenIds);
  });

  it("another picture is another prefix", async () => {
    await forget();
    const first = await vlm.chat(QUESTION, { images: [card] });
    const other = await vlm.chat(QUESTION, { images: [`${folder}/images/card-2.png`] });
    expect(other.usage.cachedTokens).toBeLessThan(first.usage.promptTokens - 10);
    await forget();
    expect((await vlm.chat(QUESTION, { images: [`${folder}/images/card-2.png`] })).tokenIds).toEqual(other.tokenIds);
    const again = await vlm.chat(QUESTION, { images: [`${folder}/images/card-2.png`] });
    expect(again.usage).toMatchObject({ prefilledTokens: 1, cachedTokens: again.usage.promptTokens - 1 });
    expect(again.tokenIds).toEqual(other.tokenIds);
  });

  it("sessions keep their turns, also when others use the model in between", async () => {
    const a = vlm.session();
    const b = vlm.session({ system: "You are terse." });
    const one = a.send(QUESTION, { images: [card] });
    const two = a.send("What color is the triangle?"); // asked before the first answer is there
    const other = b.send(STORY, { maxTokens: 5 });
    expect((await two).usage.cachedTokens).toBeLessThan((await two).usage.promptTokens);
    expect((await two).history).toHaveLength(4);
    await other;
    const { history } = await one;
    expect((await vlm.chat("What color is the triangle?", { history })).tokenIds).toEqual((await two).tokenIds);
    const three = await a.send("What shape is it?");
    expect(three.usage.cachedTokens).toBeGreaterThan(40);
    expect(a.history).toHaveLength(6);
    expect(b.history).toHaveLength(2);
    const abort = new AbortController();
    const long = a.send(STORY, { maxTokens: 12 });
    const waiting = a.send("Never asked.", { signal: abort.signal });
    const behind = a.send("What color is it?", { maxTokens: 3 });
    abort.abort();
    expect(await codeOf(waiting)).toMatch(/^aborted/);
    const texts = (messages: readonly Message[]) => messages.filter(({ role }) => role === "user").map(({ content }) => content);
    expect(texts((await behind).history)).toEqual([...texts(three.history), STORY, "What color is it?"]);
    expect((await long).history).toHaveLength(8);
    const failed = a.send("Again?", { signal: AbortSignal.abort() });
    expect(await codeOf(failed)).toMatch(/^aborted/);
    expect(await codeOf(a.send("<image> too many"))).toMatch(/^bad-input/);
    expect(a.history).toHaveLength(10); // as if it had not been asked
  });

  it("aborts while waiting for its turn, and those behind it still have theirs", async () => {
    const { scheduler } = partsOf(vlm);
    const abort = new AbortController();
    let release = () => {};
    const guest = scheduler.alone(() => new Promise<void>((resolve) => (release = resolve))); // nobody's turn comes before this one's end
    const waiting = vlm.chat(QUESTION, { images: [card], signal: abort.signal });
    const behind = vlm.chat(QUESTION, { images: [card] });
    while (scheduler.load.waiting < 2) await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    expect(await codeOf(waiting)).toMatch(/^aborted/);
    release();
    expect((await behind).text).toBe("A triangle.");
    await guest;
  });

  it("an abort in the decode leaves a model that answers as before", async () => {
    const { tokenIds } = await vlm.chat(STORY);
    for (const after of [1, 3]) {
      const abort = new AbortController();
      const reply = vlm.chat(STORY, { signal: abort.signal });
      const steps = counters().decodeSteps;
      let pieces = 0;
      const iterate = async () => {
        for await (const _ of reply) if (++pieces === after) abort.abort();
      };
      expect(await codeOf(iterate())).toMatch(/^aborted/);
      expect(counters().decodeSteps - steps).toBeLessThan(after * 4 + 8); // nano's pieces are a few ids; the ring runs on
      expect((await vlm.chat(STORY)).tokenIds).toEqual(tokenIds);
    }
  });

  it("aborts in vision and prefill, and then computes again what is missing, and no more", async () => {
    const other = await InternVL.load(folder, { maxContext: 512 });
    const question = `${"<image>\n".repeat(6)}${STORY}`;
    for (const when of isQuick ? [5] : [1, 5]) {
      // Pictures that nobody has seen before, a tile each.
      const images = Array.from({ length: 6 }, (_, i) => ({
        data: Uint8Array.from({ length: 112 * 112 * 3 }, (_, at) => (at * (i + 2)) >> when),
        ...{ width: 112, height: 112, channels: 3 as const },
      }));
      const abort = new AbortController();
      const { tiles } = counters();
      const ask = (vlm: InternVL, options?: ChatOptions) => vlm.chat(question, { images, maxTokens: 4, maxTiles: 1, ...options });
      const onProgress = () => counters().tiles >= tiles + when && abort.abort(); // told between two pieces of the prompt
      expect(await codeOf(ask(vlm, { signal: abort.signal, onProgress }))).toMatch(/^aborted/);
      const { tokenIds } = await ask(vlm);
      expect(counters().tiles).toBe(tiles + 6);
      expect((await ask(other)).tokenIds).toEqual(tokenIds);
    }
    await other.dispose();
  });
});
