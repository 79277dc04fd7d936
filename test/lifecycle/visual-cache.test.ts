import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { type ChatOptions, InternVL } from "../../src/index.ts";
import { visualCache } from "../../src/model/visual-cache.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const image = (name: string) => `${folder}/images/${name}.png`;

describe("the places of visual tokens", () => {
  it("are those of the content, whatever came before and was never filled", () => {
    const prompt = fc.record({
      keys: fc.array(fc.constantFrom(..."abcdefghij"), { minLength: 1, maxLength: 6 }),
      first: fc.nat({ max: 2 }),
      perTile: fc.constantFrom(4, 4, 4, 8),
      filled: fc.nat({ max: 6 }), // tiles that run before an abort
    });
    fc.assert(
      fc.property(fc.array(prompt, { maxLength: 20 }), (prompts) => {
        const cache = visualCache(50); // 12 tiles of 4 rows, 6 of 8
        const buffer = new Map<number, string>(); // what lies in each place
        let size = 0;
        for (const { keys, first, perTile, filled } of prompts) {
          if (perTile !== size) buffer.clear();
          size = perTile;
          const { places, missing } = cache.place(keys, first, perTile);
          const wanted = keys.slice(first);
          expect(new Set(missing.map((tile) => keys[tile])).size).toBe(missing.length); // one of each content
          const run = missing.slice(0, filled);
          for (const tile of run) {
            buffer.set(places[tile]!, keys[tile]!);
            cache.fill(keys[tile]!, places[tile]!);
          }
          if (run.length < missing.length) continue; // aborted
          for (const [i, key] of wanted.entries()) {
            expect(places[first + i]!).toBeLessThan(Math.floor(50 / perTile));
            expect(buffer.get(places[first + i]!)).toBe(key);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it("go to who used them last", () => {
    const cache = visualCache(3);
    const missing = (...keys: string[]) => {
      const layout = cache.place(keys, 0, 1);
      for (const tile of layout.missing) cache.fill(keys[tile]!, layout.places[tile]!);
      return layout.missing.map((tile) => keys[tile]).join("");
    };
    expect(["abc", "a", "d", "ca", "b", "adb"].map((keys) => missing(...keys))).toEqual(["abc", "", "d", "", "b", "d"]);
    expect(() => missing(..."abcd")).toThrow("4 tiles give 4 visual tokens, the context has 3");
  });
});

describe("visual tokens cached by content", () => {
  const QUESTION = "What shape is it?";
  let vlm: InternVL;
  let small: InternVL;
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { maxContext: 512 });
    small = await InternVL.load(folder, { maxContext: 256 }); // 16 tiles
  });
  afterAll(() => Promise.all([vlm.dispose(), small.dispose()]));
  /** Ids, and how many tiles ran. */
  const ask = async (options: ChatOptions, on = vlm) => {
    const { counters } = partsOf(on).gpu;
    const { tiles } = counters;
    const { tokenIds } = await on.chat(QUESTION, { maxTokens: 12, ...options });
    return { ids: tokenIds, tiles: counters.tiles - tiles };
  };
  /** The ids of a model that has seen nothing. */
  const fresh = async (options: ChatOptions) => {
    const other = await InternVL.load(folder, { maxContext: 512 });
    const { ids } = await ask(options, other);
    await other.dispose();
    return ids;
  };
  const grey = (width: number, height: number, level: number) => ({
    ...{ data: new Uint8Array(width * height * 3).fill(level), width, height, channels: 3 as const },
  });

  it("the same picture is encoded once, in another conversation, place, slot, or behind another system message", async () => {
    const bytes = vlm.memory().bytes;
    const card = { images: [image("card-1")] };
    const first = await ask(card);
    expect(first.tiles).toBe(1);
    const others: ChatOptions[] = [
      { ...card, system: "Other." },
      { ...card, system: "" },
      { images: [image("card-2"), image("card-1")] },
      { images: [image("card-1"), image("card-2")] },
      { images: [[image("card-2"), image("card-1")]], system: "Yet another." },
      { video: [image("card-1"), image("card-2"), image("card-1")] },
    ];
    const seen = [];
    for (const each of others) seen.push(await ask(each));
    expect(seen.map(({ tiles }) => tiles)).toEqual([0, 0, 1, 0, 0, 0]); // the second card once
    for (const [i, each] of others.entries()) if (isQuick ? i === 3 : i % 2) expect(seen[i]!.ids).toEqual(await fresh(each));
    // At the same time, each in a slot of its own.
    const { counters } = partsOf(vlm).gpu;
    const before = counters.tiles;
    const replies = await Promise.all(others.map((options) => vlm.chat(QUESTION, { maxTokens: 12, ...options })));
    expect(replies.map(({ tokenIds }) => tokenIds)).toEqual(seen.map(({ ids }) => ids));
    expect(counters.tiles).toBe(before);
    await partsOf(vlm).scheduler.alone(async () => {});
    expect(vlm.memory().bytes).toBe(bytes);
  });

  it("equal tiles of a page are encoded once", async () => {
    const page = { images: [grey(336, 224, 200)] };
    const { ids, tiles } = await ask(page);
    expect(tiles).toBe(1); // of 7
    expect(ids).toEqual(await fresh(page));
  });

  it("pictures that have no room together take turns, with the ids that they have alone", async (context) => {
    context.skip(isQuick, `more than a hundred tiles: ${ELSEWHERE}`);
    // Three pages never find a tile of theirs again.
    const pages = [50, 100, 150].map((level) => ({
      images: Array.from({ length: 9 }, (_, i) => grey(112, 112, level + i)),
      maxTiles: 1,
    }));
    const counts: number[] = [];
    for (const round of [0, 1]) {
      for (const page of pages) {
        const { ids, tiles } = await ask({ ...page, system: `${round}` }, small);
        expect(ids).toEqual((await ask({ ...page, system: `${round}` })).ids);
        counts.push(tiles);
      }
    }
    expect(counts).toEqual([9, 9, 9, 9, 9, 9]);
    expect((await ask({ images: [pages.at(-1)!.images[0]!, grey(112, 112, 7)], maxTiles: 1 }, small)).tiles).toBe(1);
  });
});
