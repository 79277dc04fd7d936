import { beforeAll, describe, expect, it, vi } from "vitest";
import { create, globals } from "webgpu";
import { EngineError } from "../../src/errors.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { InternVL } from "../../src/index.ts";
import { noSuchAdapter } from "../../src/platform/no-adapter.ts";
import { platform } from "../../src/platform/node.ts";
import { pathOf } from "../support.ts";

const nano = pathOf("weights/nano");

async function failure(work: Promise<unknown>): Promise<EngineError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(EngineError);
  return error as EngineError;
}

describe("device: what is given is checked", () => {
  it.each([
    ["a name", "llvmpipe", /^device is "llvmpipe", needs a GPUDevice/],
    ["a number", 12345, /^device is 12345, needs a GPUDevice/],
    ["a list", [], /^device is an empty list/],
    ["a promise of a device", Promise.resolve(), /^device is a Promise/],
    ["an adapter", { requestDevice() {}, features: new Set(), limits: {} }, /^device is an object with requestDevice/],
    ["half a device", { createBuffer() {}, queue: {} }, /^device has no option "createBuffer"/],
    ["an unknown option", { adaptor: "nvidia" }, /^device has no option "adaptor"; did you mean "adapter"\?/],
    ["a name that is none", { adapter: 5 }, /^adapter is 5, needs a text/],
    ["an unknown preference", { powerPreference: "low_power" }, /^powerPreference is "low_power", needs one of low-power/],
  ])("%s", async (_, device, message) => {
    const error = await failure(openGpu(device as never));
    expect(error.code).toBe("bad-input");
    expect(error.message).toMatch(message);
  });

  it("null means absent", async () => {
    const gpu = await openGpu(null as never);
    expect(gpu.adapterName).not.toBe("");
    gpu.close();
  });
});

describe("an adapter that is not there", () => {
  it.each([
    ["nvidia", ["llvmpipe"], /NVIDIA's own driver.*; or take one that is there: device: \{ adapter/, /mesa/i],
    ["GeForce RTX 5090", [], /NVIDIA's own driver.*; then choose it/, /mesa/i],
    ["radeon", ["llvmpipe"], /Mesa's Vulkan driver/, /NVIDIA/],
    ["swiftshader", ["llvmpipe"], /@sparticuz\/chromium/, /mesa|NVIDIA/i],
    ["voodoo", ["llvmpipe"], /^choose one that is there: device: \{ adapter: "part of its name" \}$/, /install/],
    ["voodoo", [], /NVIDIA's own; Mesa's for others/, /choose one that is there/],
    [undefined, [], /NVIDIA's own; Mesa's for others/, /choose one that is there/],
  ])("%s among %j: the hint is about what was asked", (asked, names, hint, not) => {
    const error = noSuchAdapter(names, asked, false, "linux");
    expect(error.code).toBe("no-adapter");
    if (asked) expect(error.message).toContain(JSON.stringify(asked));
    expect(error.hint).toMatch(hint);
    expect(error.hint).not.toMatch(not);
    expect(noSuchAdapter(names, asked, false, "darwin").hint).not.toMatch(/install|debian/i);
  });

  it("a long name is cut", async () => {
    expect((await failure(openGpu({ adapter: "x".repeat(1e6) }))).message.length).toBeLessThan(1000);
  });

  it("the environment's wish is called so", async () => {
    vi.stubEnv("INTERNVL_ADAPTER", "voodoo");
    try {
      expect((await failure(openGpu())).message).toMatch(/contains "voodoo" \(which INTERNVL_ADAPTER asks for\)/);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe("a device of the caller's", () => {
  let gpu: GPU;
  let request: (options?: GPURequestAdapterOptions) => Promise<GPUAdapter>;
  beforeAll(async () => {
    for (const [name, value] of Object.entries(globals)) if (!(name in globalThis)) Object.assign(globalThis, { [name]: value });
    const { name } = await platform.requestAdapter({});
    gpu = create(["enable-dawn-features=allow_unsafe_apis", `adapter=${name}`]);
    request = async (options) => (await gpu.requestAdapter(options))!;
  });

  it("works, and stays the caller's", async () => {
    const device = await (await request()).requestDevice();
    const opened = await openGpu(device);
    opened.close();
    const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ });
    await buffer.mapAsync(GPUMapMode.READ); // not destroyed
    device.destroy();
  });

  it("that was destroyed is reported", async () => {
    const device = await (await request()).requestDevice();
    device.destroy();
    const error = await failure(InternVL.load(nano, { device }));
    expect(error.code).toBe("device-lost");
    expect(error.message).toMatch(/^the GPUDevice given as device does not work \(destroyed: /);
    expect(error.hint).toMatch(/a new one/);
  });

  it("that is destroyed while a model loads or answers is reported", async () => {
    const device = await (await request()).requestDevice();
    const onProgress = ({ phase }: { phase: string }) => phase === "upload" && device.destroy();
    expect((await failure(InternVL.load(nano, { device, onProgress: (at) => void onProgress(at) }))).code).toBe("device-lost");
    const other = await (await request()).requestDevice();
    const vlm = await InternVL.load(nano, { device: other });
    other.destroy();
    expect((await failure(Promise.resolve(vlm.chat("What shape is it?")))).code).toBe("device-lost");
    await vlm.dispose();
  });

  it("of compatibility mode is refused with the limits that it lacks", async () => {
    const device = await (await request({ featureLevel: "compatibility" })).requestDevice();
    const error = await failure(openGpu(device));
    device.destroy();
    expect(error.code).toBe("limit-exceeded");
    expect(error.message).toMatch(/maxComputeInvocationsPerWorkgroup 128, needs 256/);
  });
});

describe("an adapter that gives no device", () => {
  it.each([
    ["rejects", () => Promise.reject(new Error("out of devices")), /gave no device: out of devices/],
    ["gives null", () => Promise.resolve(null), /gave no device$/],
  ])("%s", async (_, requestDevice, message) => {
    const real = platform.requestAdapter;
    platform.requestAdapter = async (asked) => {
      const found = await real(asked);
      return { ...found, adapter: { features: new Set(), limits: found.adapter.limits, requestDevice } as unknown as GPUAdapter };
    };
    try {
      const error = await failure(openGpu());
      expect(error.code).toBe("no-adapter");
      expect(error.message).toMatch(message);
      expect(error.hint).toMatch(/device: \{ adapter: "part of its name" \}/);
    } finally {
      platform.requestAdapter = real;
    }
  });
});
