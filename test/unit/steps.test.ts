import { describe, expect, it } from "vitest";
import { EngineError } from "../../src/errors.ts";
import { isMobile } from "../../src/gpu/adapter-kind.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { parseConfig } from "../../src/model/config.ts";
import { chunkBytes, chunkFor, evenly, mostTiles } from "../../src/model/steps.ts";
import { fixture } from "../support.ts";

const config = parseConfig(fixture("internvl2_5-4b.config.json"));

/** A device with so much memory that allocates nothing. */
function fake({ large = true, mobile = false, room = Number.POSITIVE_INFINITY, maxBinding = 2 ** 31 }): Gpu {
  let taken = 0;
  const memory = {
    maxBinding,
    scoped: (_: string, work: () => unknown) => work(),
    create(_: string, size: number) {
      if (taken + size > room) throw new EngineError("out-of-memory", "no room");
      taken += size;
      return { size };
    },
    destroy: ({ size }: { size: number }) => {
      taken -= size;
    },
    flush: async () => {},
  };
  return { kind: "gpu", large, mobile, memory } as unknown as Gpu;
}

describe("tokens in a prefill step", () => {
  it.each([
    ["a GPU", {}, 8192, 2048],
    ["a GPU with little room left", { room: chunkBytes(config, 1024) + 1000 }, 8192, 1024],
    ["a GPU with none", { room: 1000 }, 8192, 512],
    ["bindings of WebGPU's own limit", { maxBinding: 2 ** 27 }, 8192, 1024],
    ["a phone, or an adapter on the CPU", { large: false }, 8192, 512],
    ["a context that half of it holds", {}, 1000, 1024],
    ["a context that needs all of it", {}, 1100, 2048],
  ])("%s", async (_, device, context, chunk) => {
    expect(await chunkFor(fake(device), config, context, 1000)).toBe(chunk);
  });

  it("a phone takes a tile a step", () => {
    expect([true, false].map((mobile) => mostTiles(fake({ mobile })))).toEqual([1, 4]);
    expect(["qualcomm", "ARM", "img-tec", "samsung"].every(isMobile)).toBe(true);
    expect(["nvidia", "amd", "intel", "apple", ""].some(isMobile)).toBe(false);
  });
});

describe("even groups", () => {
  it.each([
    [13, 4, [4, 3, 3, 3]],
    [5, 4, [3, 2]],
    [4, 4, [4]],
    [1, 4, [1]],
    [3, 1, [1, 1, 1]],
    [40, 4, Array.from({ length: 10 }, () => 4)],
  ])("%d things, at most %d together", (count, most, groups) => {
    const found: number[] = [];
    for (let left = count; left > 0; left -= found.at(-1)!) found.push(evenly(left, most));
    expect(found).toEqual(groups);
  });
});
