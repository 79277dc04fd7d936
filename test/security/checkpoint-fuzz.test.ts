import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openWeights } from "../../src/hub/open.ts";
import { checkTensors } from "../../src/model/check-tensors.ts";
import { parseConfig } from "../../src/model/config.ts";
import { storedShapes } from "../../src/model/stored.ts";
import { parseHeader } from "../../src/safetensors/index.ts";
import { loadTokenizer, structuralIds } from "../../src/text/tokenizer.ts";
import { fewer } from "../shared/quick.ts";
import { refused } from "../shared/refused.ts";
import { fixture, memoryFiles, tinyCheckpoint } from "../support.ts";

const nano = (name: string): Uint8Array => new Uint8Array(fixture(`../../weights/nano/${name}`));
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const parsed = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

/** Values that no key of a checkpoint's files expects everywhere, and some that it may. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, false, 0, -1, 1.5, 1e308, 2 ** 53, 1e9, "", "x", "__proto__", "1024", [], {}, [[]], [null], [{}]),
  fc.constantFrom<unknown>({ type: "Sequence" }, { Regex: "(a+)+b" }, { content: 5 }, "y".repeat(100_000), {
    constructor: 1,
    toString: null,
  }),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Every place in a JSON value, as the keys that lead there. Of long lists and objects the first and some others. */
function placesIn(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [path];
  const keys = Object.keys(value);
  const some = keys.length > 60 ? [...keys.slice(0, 8), ...keys.slice(-8), ...keys.filter((_, i) => i % 97 === 0)] : keys;
  return [path, ...some.flatMap((key) => placesIn((value as Record<string, unknown>)[key], [...path, key]))];
}

/** A copy of `value` with something else at a place, or nothing, or a key more. */
function mutated(value: unknown, path: readonly string[], kind: "put" | "drop" | "add", by: unknown): unknown {
  const copy = structuredClone(value);
  if (path.length === 0) return kind === "put" ? by : copy;
  let owner = copy as Record<string, unknown>;
  for (const key of path.slice(0, -1)) owner = owner[key] as Record<string, unknown>;
  const last = path.at(-1)!;
  if (kind === "put") owner[last] = by;
  else if (Array.isArray(owner)) owner.splice(Number(last), kind === "drop" ? 1 : 0, ...(kind === "drop" ? [] : [by]));
  else if (kind === "drop") delete owner[last];
  else owner[`${last}x`] = by;
  return copy;
}

/** Bytes that a failed property shows by what was done to make them. */
const told = (bytes: Uint8Array, how: unknown): Uint8Array =>
  Object.assign(bytes, { [fc.toStringMethod]: () => JSON.stringify(how)?.slice(0, 300) ?? "" });

/** Files as a mutation of JSON leaves them. */
const mutations = (value: unknown) => {
  const places = placesIn(value);
  const one = fc.record({ at: fc.nat(places.length - 1), kind: fc.constantFrom("put", "drop", "add"), by: odd });
  return one.map(({ at, kind, by }) => told(encode(mutated(value, places[at]!, kind as "put", by)), { place: places[at], kind, by }));
};

/** Files whose bytes are cut or changed. */
const damages = (bytes: Uint8Array) =>
  fc.record({ at: fc.nat(bytes.length - 1), byte: fc.nat(255), cut: fc.boolean() }).map(({ at, byte, cut }) => {
    if (cut) return told(bytes.slice(0, at), { cut: at });
    const copy = bytes.slice();
    copy[at] = byte;
    return told(copy, { at, byte });
  });

/** Runs what reads files: it may accept them, or refuse them as it should. */
async function judged(work: () => unknown): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    refused(error, "bad-weights");
    return false;
  }
}

/** Counts what was accepted of many mutations: both must happen, or the test would show nothing. */
async function tally(files: fc.Arbitrary<Uint8Array>, read: (bytes: Uint8Array) => unknown, numRuns: number): Promise<void> {
  const count = { accepted: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(files, async (bytes) => {
      count[(await judged(() => read(bytes))) ? "accepted" : "refused"]++;
    }),
    { numRuns, seed: 11 },
  );
  expect(count.accepted).toBeGreaterThan(numRuns / 50);
  expect(count.refused).toBeGreaterThan(numRuns / 5);
}

describe("damaged small files are refused with EngineError, or are still right", () => {
  const config = nano("config.json");
  const { language: right } = parseConfig(config);

  it("config.json: what is accepted is a model of sizes in sense", async () => {
    const read = (bytes: Uint8Array) => {
      const { language: l, vision: v, tokensPerTile, maxTiles } = parseConfig(bytes);
      for (const count of [
        l.hiddenSize,
        l.layers,
        l.heads,
        l.kvHeads,
        l.vocabSize,
        l.intermediateSize,
        l.maxPositions,
        v.layers,
        maxTiles,
      ]) {
        expect(Number.isSafeInteger(count) && count > 0 && count < 2 ** 27).toBe(true);
      }
      expect(l.headDim * l.heads).toBe(l.hiddenSize);
      expect(l.eps > 0 && l.eps < 1 && v.eps > 0 && v.eps < 1 && l.rope.theta > 1).toBe(true);
      expect(Number.isInteger(tokensPerTile)).toBe(true);
    };
    await tally(mutations(parsed(config)), read, fewer(1500));
    await tally(damages(config), read, fewer(500));
  });

  it("a key of llm_config with another value is another model, or none", async () => {
    const json = parsed(config) as { llm_config: Record<string, unknown> };
    const bookkeeping = /_token_id|dropout|^architectures$|^model_type$|^torch_dtype$|^use_cache$|initializer|window|^rope_scaling$/;
    for (const key of Object.keys(json.llm_config).filter((each) => !bookkeeping.test(each))) {
      for (const value of [7, 64, 0.5, true, "other", [3], { a: 1 }]) {
        if (json.llm_config[key] === value) continue;
        let got: unknown;
        await judged(() => {
          got = parseConfig(encode({ ...json, llm_config: { ...json.llm_config, [key]: value } })).language;
        });
        expect(got, key).not.toEqual(right);
      }
    }
  });

  const files: Record<string, Uint8Array> = Object.fromEntries(
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].map((name) => [name, nano(name)]),
  );
  const text = "<|im_start|>user\nThe quick brown fox, 12 “dogs”\n<|im_end|>";
  const tokenizerFrom = async (name: string, bytes: Uint8Array) => {
    const tokenizer = await loadTokenizer(async (file) => (file === name ? bytes : files[file]), 1056);
    structuralIds(tokenizer);
    const ids = tokenizer.encode(text);
    expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 1056)).toBe(true);
    expect(typeof tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("string");
  };
  it.each(Object.keys(files))("%s: what is accepted gives ids of the model", async (name) => {
    const runs = fewer(name === "tokenizer.json" ? 250 : 150);
    const count = { accepted: 0, refused: 0 };
    const either = fc.oneof(mutations(parsed(files[name]!)), damages(files[name]!));
    await fc.assert(
      fc.asyncProperty(either, async (bytes) => {
        count[(await judged(() => tokenizerFrom(name, bytes))) ? "accepted" : "refused"]++;
      }),
      { numRuns: runs, seed: 12 },
    );
    expect(count.accepted).toBeGreaterThan(5);
    expect(count.refused).toBeGreaterThan(5);
  });

  const slow = Object.fromEntries(["vocab.json", "merges.txt"].map((name) => [name, new Uint8Array(fixture(`tiny/tokenizer/${name}`))]));
  it.each(Object.keys(slow))("%s", async (name) => {
    const others = { ...slow, "added_tokens.json": new Uint8Array(fixture("tiny/tokenizer/added_tokens.json")) };
    const either = name === "merges.txt" ? damages(slow[name]!) : fc.oneof(mutations(parsed(slow[name]!)), damages(slow[name]!));
    await fc.assert(
      fc.asyncProperty(either, async (bytes) => {
        await judged(async () => {
          const tokenizer = await loadTokenizer(
            async (file) => (file === name ? bytes : (others as Record<string, Uint8Array>)[file]),
            1031,
          );
          expect(tokenizer.encode(text).every((id) => id >= 0 && id < 1031)).toBe(true);
        });
      }),
      { numRuns: fewer(200), seed: 13 },
    );
  });
});

describe("damaged headers and indices", () => {
  const checkpoint = tinyCheckpoint("tiny-qwen", 0);
  const config = parseConfig(checkpoint["config.json"]!);
  const whole = checkpoint["model.safetensors"]!;
  const headerBytes = Number(new DataView(whole.buffer, whole.byteOffset).getBigUint64(0, true));
  const header = parsed(whole.subarray(8, 8 + headerBytes));

  const withHeader = (text: Uint8Array): Uint8Array => {
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
    return Buffer.concat([length, text, whole.subarray(8 + headerBytes)]);
  };
  const read = async (files: Record<string, Uint8Array>) => {
    const opened = await openWeights(memoryFiles(files));
    checkTensors(config, storedShapes(opened));
    const right = parseHeader(whole, whole.length, "x").tensors;
    for (const [name, { shape }] of right) expect(opened.tensors.get(name)!.info.shape).toEqual(shape);
  };

  it("a header: the tensors are as the model wants them, or it is refused", async () => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(mutations(header), async (text) => {
        if (await judged(() => read({ "model.safetensors": withHeader(text) }))) accepted++;
      }),
      { numRuns: fewer(300), seed: 14 },
    );
    expect(accepted).toBeLessThan(60); // nearly all of a header counts
    await read({ "model.safetensors": whole });
  });

  it("an index", async () => {
    const index = {
      metadata: { total_size: 1 },
      weight_map: Object.fromEntries(Object.keys(header as object).map((name) => [name, "a.safetensors"])),
    };
    await read({ "model.safetensors.index.json": encode(index), "a.safetensors": whole });
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutations(index), damages(encode(index))), async (bytes) => {
        await judged(() => read({ "model.safetensors.index.json": bytes, "a.safetensors": whole }));
      }),
      { numRuns: fewer(300), seed: 15 },
    );
  });
});
