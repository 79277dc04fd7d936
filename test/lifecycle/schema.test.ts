import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { z } from "zod";
import { partsOf } from "../../src/api/internvl.ts";
import { type BatchItem, type ChatResult, InternVL } from "../../src/index.ts";
import { memoryFiles, readJson, tinyFiles } from "../shared/checkpoints.ts";
import { sentencePieceFiles } from "../shared/layouts.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { errorsOf, schemas } from "../shared/schemas.ts";
import { pathOf } from "../support.ts";

const read = async (path: string): Promise<Uint8Array> => readFile(pathOf(path));
const full = inject("full");

/** 500 of them are the full run's; the same ones every time. */
const SCHEMAS = fc.sample(schemas, { numRuns: full ? 500 : isQuick ? 3 : 6, seed: 2025 });
const GREETING = "Hello, who are you?";

async function load(name: "nano" | "tiny-qwen" | "tiny-internlm2-sp"): Promise<InternVL> {
  if (name === "nano") return InternVL.load(pathOf("weights/nano"), { slots: 8 });
  if (name === "tiny-internlm2-sp") return InternVL.load(memoryFiles(await sentencePieceFiles(read)), { maxContext: 1024, slots: 8 });
  const { weights_seed: seed } = await readJson<{ weights_seed: number }>(read, `test/fixtures/tiny/${name}/expected.json`);
  return InternVL.load(memoryFiles(await tinyFiles(name, seed, read)), { maxContext: 1024, slots: 8 });
}

// Other tokenizers, which lavapipe and the full set run.
const NAMES = ["nano", "tiny-qwen", "tiny-internlm2-sp"] as const;

describe.each(isQuick ? NAMES.slice(0, 1) : NAMES)("%s: every answer is JSON by its schema", (name) => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await load(name);
  });
  afterAll(() => vlm?.dispose());

  it.for([
    ["greedy", {}],
    ["drawn", { temperature: 1.2, topP: 0.98, seed: 11 }],
  ] as const)(
    "random schemas, %s",
    { timeout: 1_800_000 }, // six minutes where much else runs on the two cores
    async ([kind, how], context) => {
      context.skip(isQuick && kind === "greedy", `drawn alone: ${ELSEWHERE}`);
      const items = SCHEMAS.map((schema): BatchItem => ({ prompt: GREETING, schema, maxTokens: 700, ...how }));
      for (const [i, result] of (await vlm.batch(items)).entries()) {
        if ("error" in result) throw result.error;
        expect(result.finishReason, `${JSON.stringify(SCHEMAS[i])}: ${result.text}`).toBe("stop");
        expect(errorsOf(SCHEMAS[i]!, result.text), result.text).toEqual([]);
      }
    },
  );
});

describe("answers with a schema", () => {
  let vlm: InternVL;
  beforeAll(async () => {
    vlm = await load("nano");
  });
  afterAll(() => vlm?.dispose());
  const person = {
    type: "object",
    properties: { name: { type: "string", minLength: 1, maxLength: 9 }, age: { type: "integer", minimum: 1, maximum: 99 } },
    required: ["name", "age"],
    additionalProperties: false,
  };
  const ask = (more: object) => vlm.chat(GREETING, { schema: person, ...more });

  it("disturb nobody in the same step, and are what they are alone", async () => {
    const drawn = { temperature: 1, seed: 5 };
    const alone = [await vlm.chat(GREETING), await ask({}), await vlm.chat(GREETING, drawn), await ask(drawn)];
    const together = await Promise.all([vlm.chat(GREETING), ask({}), vlm.chat(GREETING, drawn), ask(drawn)]);
    expect(together.map(({ tokenIds }) => tokenIds)).toEqual(alone.map(({ tokenIds }) => tokenIds));
    expect(await vlm.chat(GREETING)).toMatchObject({ tokenIds: alone[0]!.tokenIds });
  });

  it("have tokens that take no step: those that must come", async () => {
    const { counters } = partsOf(vlm).gpu;
    const before = counters.decodeSteps;
    const answer = await vlm.chat(GREETING, { schema: { const: { question: "how are you today?", answer: "none of this is chosen" } } });
    expect(answer.text).toBe('{"question": "how are you today?", "answer": "none of this is chosen"}');
    expect(answer.usage.completionTokens).toBeGreaterThan(12);
    expect(counters.decodeSteps - before).toBeLessThan(3);
    // What is in the cache is what was said: the next turn finds it, and computes what is new.
    const next = await vlm.chat("And you?", { history: answer.history });
    expect(next.usage.cachedTokens).toBeGreaterThanOrEqual(answer.usage.promptTokens);
    const again = await vlm.chat("And you?", {
      history: (
        await load("nano").then(async (fresh) => {
          const said = await fresh.chat("And you?", { history: answer.history });
          await fresh.dispose();
          return said;
        })
      ).history.slice(0, -2),
    });
    expect(next.tokenIds).toEqual(again.tokenIds);
  });

  it("are cut by maxTokens, and say so; stop where a stop string says so", async () => {
    for (const maxTokens of [1, 2, 5, 9]) {
      const cut = await ask({ maxTokens });
      expect([cut.finishReason, cut.tokenIds.length]).toEqual(["length", maxTokens]);
      expect('{"name": "'.startsWith(cut.text.slice(0, 9))).toBe(true);
    }
    expect(await ask({ stop: '", "age' })).toMatchObject({ finishReason: "stop", text: expect.stringMatching(/^\{"name": "[^"]+$/) });
  });

  it("in a session, a batch, from zod, a regular expression; penalties count what had to come", async () => {
    const session = vlm.session();
    const first = await session.send(GREETING, { schema: /(yes|no)!{1,3}/, temperature: 1, seed: 1 });
    expect(first.text).toMatch(/^(yes|no)!{1,3}$/);
    expect(JSON.parse((await session.send("And now?", { schema: person })).text)).toHaveProperty("age");
    const Pet = z.object({ kind: z.enum(["cat", "dog"]), legs: z.int().min(0).max(4).optional() });
    const [one, two] = await vlm.batch([{ prompt: GREETING }, { prompt: GREETING, schema: { type: "null" } }], {
      schema: Pet,
      maxTokens: 60,
    });
    expect(Pet.parse(JSON.parse((one as ChatResult).text))).toBeTruthy();
    expect((two as ChatResult).text).toBe("null");
    const penalised = { temperature: 1, seed: 3, frequencyPenalty: 1, presencePenalty: 1, repetitionPenalty: 1.2 };
    expect((await ask(penalised)).tokenIds).toEqual((await ask(penalised)).tokenIds);
  });

  it("refuse by name what cannot be enforced, before anything runs", async () => {
    const { counters } = partsOf(vlm).gpu;
    const before = counters.submits;
    await expect(ask({ schema: { type: "array", uniqueItems: true } })).rejects.toMatchObject({
      code: "bad-input",
      param: "schema",
      message: expect.stringContaining("uniqueItems"),
    });
    await expect(ask({ schema: /a/i })).rejects.toThrow(/flag i/);
    await expect(ask({ schema: "json" })).rejects.toThrow(/needs a JSON Schema, or a regular expression/);
    await expect(ask({ logitBias: { 99999: 1 } })).rejects.toThrow(/logitBias is 99999, needs token ids below/);
    expect(counters.submits).toBe(before);
    const [failed, fine] = await vlm.batch([
      { prompt: GREETING, schema: { not: {} } },
      { prompt: GREETING, schema: { const: 1 } },
    ]);
    expect([failed, fine]).toMatchObject([{ error: { code: "bad-input" } }, { text: "1" }]);
  });

  it("are aborted like others, and leave the model usable", async () => {
    const abort = new AbortController();
    const reply = vlm.chat(GREETING, { schema: { type: "object" }, temperature: 2, seed: 1, signal: abort.signal });
    const left = (async () => {
      for await (const _ of reply) abort.abort();
    })();
    await expect(left).rejects.toMatchObject({ code: "aborted" });
    await expect(reply).rejects.toMatchObject({ code: "aborted" });
    expect((await ask({})).finishReason).toBe("stop");
  });

  it("are aborted while their grammar is compiled, and what comes of that is given back", async () => {
    const parts = partsOf(vlm);
    const own = parts.grammars;
    let compiled!: (place: object) => void;
    const compiling = new Promise<object>((resolve) => (compiled = resolve));
    parts.grammars = Promise.resolve({ matcher: () => compiling } as unknown as NonNullable<Awaited<typeof own>>);
    const abort = new AbortController();
    const reply = vlm.chat(GREETING, { schema: { type: "object" }, signal: abort.signal });
    abort.abort();
    await expect(reply).rejects.toMatchObject({ code: "aborted" });
    parts.grammars = own;
    await new Promise<void>((resolve) => compiled({ dispose: () => resolve() }));
    expect((await ask({})).finishReason).toBe("stop");
  });

  it("presencePenalty, frequencyPenalty and logitBias change what comes", async () => {
    const plain = await vlm.chat(GREETING, { maxTokens: 12 });
    const biased = await vlm.chat(GREETING, { maxTokens: 12, logitBias: { [plain.tokenIds[0]!]: -100 } });
    expect(biased.tokenIds).not.toContain(plain.tokenIds[0]);
    const pushed = { maxTokens: 12, logitBias: { 40: 40 } };
    expect(new Set((await vlm.chat(GREETING, pushed)).tokenIds)).toEqual(new Set([40]));
    const less = await vlm.chat(GREETING, { ...pushed, logitBias: { 40: 25 }, frequencyPenalty: 2, presencePenalty: 2 });
    expect(new Set(less.tokenIds).size).toBeGreaterThan(1);
    const more = await vlm.chat(GREETING, { maxTokens: 30, frequencyPenalty: -2 });
    expect(more.tokenIds.length).toBeGreaterThan(0);
  });
});
