import { beforeEach, describe, expect, it, vi } from "vitest";
import type { EngineError } from "../../src/errors.ts";

// A stand-in for Dawn: what a driver that fails does to it, and how often it is asked.

const { create } = vi.hoisted(() => ({ create: vi.fn() }));
vi.mock("webgpu", () => ({ create, globals: {} }));

const LIST =
  "no suitable backends found\nAvailable adapters:\n * backend: 'vulkan', name: 'Big GPU'\n * backend: 'null', name: 'Null backend'\n";

/** Dawn's entries: what is asked for its list of adapters, and what gives the adapter. */
function dawn({ list, give }: { list: () => Promise<unknown>; give: () => Promise<unknown> }): void {
  create.mockImplementation((options: string[]) => ({ requestAdapter: options.some((each) => each.includes("\u0001")) ? list : give }));
}

const lists = () => Promise.reject(new Error(LIST));
const adapter = { features: new Set() };

/** The platform as a process has it that has done nothing yet. */
async function freshPlatform() {
  vi.resetModules();
  return (await import("../../src/platform/node.ts")).platform;
}

const failure = async (work: Promise<unknown>): Promise<EngineError> => {
  const error = (await work.then(() => undefined).catch((thrown: unknown) => thrown)) as EngineError;
  expect(error.name).toBe("EngineError"); // another module's class after resetModules
  return error;
};

beforeEach(() => {
  create.mockReset();
  vi.stubEnv("INTERNVL_ADAPTER", "");
});

describe("an adapter of Dawn's", () => {
  it("is asked of one entry, made once for all calls at once and after", async () => {
    dawn({ list: lists, give: async () => adapter });
    const platform = await freshPlatform();
    const found = await Promise.all([
      platform.requestAdapter({}),
      platform.requestAdapter({}),
      platform.requestAdapter({ adapter: "big" }),
    ]);
    expect(found.map(({ name }) => name)).toEqual(["Big GPU", "Big GPU", "Big GPU"]);
    await platform.requestAdapter({});
    expect(create.mock.calls.map(([options]) => (options as string[]).at(-1))).toEqual(["adapter=\u0001installed", "adapter=Big GPU"]);
  });

  it.each([
    ["null", async () => null, /"Big GPU" is listed but not given out$/],
    [
      "a rejection",
      async () => Promise.reject(new Error("the driver crashed")),
      /"Big GPU" is listed but not given out: the driver crashed$/,
    ],
  ])("that comes as %s is an error with the way to choose another, for now", async (_, give, message) => {
    dawn({ list: lists, give: vi.fn(async (): Promise<unknown> => adapter).mockImplementationOnce(give) });
    const platform = await freshPlatform();
    const { code, message: told, hint } = await failure(platform.requestAdapter({}));
    expect(code).toBe("no-adapter");
    expect(told).toMatch(message);
    expect(hint).toMatch(/device: \{ adapter: "part of its name" \}/);
    expect(hint).not.toContain("--adapter"); // the command line says it in these words, the library in its own
    expect((await platform.requestAdapter({})).name).toBe("Big GPU");
  });

  it("is not there where WebGPU fails to list any: told, and asked again the next time", async () => {
    dawn({ list: vi.fn(lists).mockRejectedValueOnce(new Error("out of host memory")), give: async () => adapter });
    const platform = await freshPlatform();
    const [first, second] = await Promise.all([failure(platform.requestAdapter({})), failure(platform.requestAdapter({}))]);
    expect(first.message).toMatch(/does not list this machine's adapters: out of host memory$/);
    expect(second).toBe(first);
    expect((await platform.requestAdapter({})).name).toBe("Big GPU");
  });
});
