import { describe, expect, it } from "vitest";
import { type AdapterFacts, isNullHardware, kindOf, makerOf } from "../../src/gpu/adapter-kind.ts";

const NONE: AdapterFacts = { vendor: "", architecture: "", device: "", description: "", isFallbackAdapter: false };

describe("what an adapter is", () => {
  it.each<[string, AdapterFacts]>([
    ["NVIDIA on Vulkan, by its name alone", { name: "NVIDIA GeForce RTX 4090" }],
    [
      "NVIDIA H200 in Dawn",
      { vendor: "nvidia", architecture: "hopper", description: "NVIDIA: 570.86.15 570.86.15.0", isFallbackAdapter: false },
    ],
    ["NVIDIA in Chromium, which keeps names to itself", { ...NONE, vendor: "nvidia", architecture: "ampere" }],
    ["AMD on Mesa", { name: "AMD Radeon RX 7900 XTX (RADV NAVI31)" }],
    [
      "AMD on Mesa, whose driver says which LLVM it has",
      { name: "AMD Radeon RX 580 Series (RADV POLARIS10)", description: "radv: Mesa 25.0.7 (LLVM 15.0.6)" },
    ],
    ["AMD in Chromium", { ...NONE, vendor: "amd", architecture: "rdna-3" }],
    ["an integrated AMD, named after its CPU", { name: "AMD Ryzen 7 7840U w/ Radeon 780M Graphics" }],
    ["Apple", { name: "Apple M2 Pro", vendor: "apple", architecture: "metal-3" }],
    ["Apple in Safari", { ...NONE, vendor: "apple", architecture: "metal-3", device: "apple", description: "" }],
    [
      "Apple on Linux, whose driver has Mesa's own vendor id",
      {
        name: "Apple M1 (G13G B0)",
        vendor: "mesa",
        architecture: "software",
        device: "apple-m1-g13g-b0-",
        description: "Honeykrisp: Mesa 26.1.6",
        isFallbackAdapter: false,
      },
    ],
    ["Apple, passed through to a virtual machine", { name: "Apple Paravirtual device" }],
    ["Intel on Mesa", { name: "Intel(R) Iris(R) Xe Graphics (TGL GT2)" }],
    ["Intel Arc in Chromium", { ...NONE, vendor: "intel", architecture: "xe-2hpg" }],
    ["Qualcomm", { name: "Adreno (TM) 740", vendor: "qualcomm", architecture: "adreno-7xx" }],
    ["a GPU behind Microsoft's Direct3D 12 in WSL", { name: "Microsoft Direct3D12 (NVIDIA GeForce RTX 3080)", vendor: "microsoft" }],
    ["a GPU behind Venus in a virtual machine", { name: "Virtio-GPU Venus (AMD Radeon Pro W6800 (RADV NAVI21))" }],
    ["a GPU on Mesa's OpenGL driver, whose vendor is not Mesa", { name: "NV167 (nouveau)", vendor: "mesa", architecture: "" }],
    ["a GPU with a name that only begins like one of the others", { name: "Warp Drive 9000", architecture: "warped" }],
    ["a browser that tells nothing", NONE],
    ["nothing at all", {}],
  ])("%s is a GPU", (_, facts) => {
    expect(kindOf(facts)).toBe("gpu");
  });

  it.each<[string, AdapterFacts]>([
    ["llvmpipe as Dawn lists it", { name: "llvmpipe (LLVM 15.0.6, 256 bits)" }],
    [
      "llvmpipe as a device of the caller's knows it",
      {
        vendor: "mesa",
        architecture: "software",
        description: "llvmpipe: Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6) 0.0.1",
        isFallbackAdapter: true,
      },
    ],
    ["llvmpipe in Chromium", { ...NONE, vendor: "mesa", architecture: "software" }],
    ["lavapipe by its driver's name", { name: "lavapipe" }],
    ["llvmpipe behind Venus in a virtual machine", { name: "Virtio-GPU Venus (llvmpipe (LLVM 17.0.6, 256 bits))" }],
    ["SwiftShader as Dawn lists it", { name: "SwiftShader Device (Subzero)" }],
    ["SwiftShader with LLVM", { name: "SwiftShader Device (LLVM 16.0.0)" }],
    ["SwiftShader in Chromium", { ...NONE, vendor: "google", architecture: "swiftshader" }],
    ["SwiftShader as a page's name is put together", { name: "google swiftshader" }],
    ["WARP as Direct3D names it", { name: "Microsoft Basic Render Driver" }],
    ["WARP in Chromium", { ...NONE, vendor: "microsoft", architecture: "warp" }],
    ["WARP behind Mesa's Direct3D 12", { name: "Microsoft Direct3D12 (Microsoft Basic Render Driver)" }],
    ["Apple's renderer", { name: "Apple Software Renderer" }],
    ["softpipe", { name: "softpipe" }],
    ["what the browser itself calls a fallback", { ...NONE, isFallbackAdapter: true }],
  ])("%s computes on the CPU", (_, facts) => {
    expect(kindOf(facts)).toBe("cpu");
  });
});

it("knows an adapter that only compiles", () => {
  expect(["Null hardware (RADV NAVI31)", "AMD Radeon RX 7900 XTX (RADV NAVI31)"].map(isNullHardware)).toEqual([true, false]);
});

describe("who made it", () => {
  it.each<[string, AdapterFacts, string]>([
    ["Apple on Linux", { name: "Apple M1 (G13G B0)", vendor: "mesa", device: "apple-m1-g13g-b0-" }, "apple"],
    ["Apple", { name: "Apple M2 Pro", vendor: "apple" }, "apple"],
    ["Mesa's own", { name: "llvmpipe (LLVM 15.0.6, 256 bits)", vendor: "mesa" }, "mesa"],
    ["AMD", { name: "AMD Radeon RX 7900 XTX (RADV NAVI31)", vendor: "amd" }, "amd"],
    ["nobody", {}, ""],
  ])("%s", (_, facts, maker) => {
    expect(makerOf(facts)).toBe(maker);
  });
});
