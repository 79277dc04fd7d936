import { describe, expect, it } from "vitest";
import { kernelSource } from "../../src/gpu/kernel.ts";
import { shaders as early } from "../../src/gpu/shaders.gen.ts";
import { shaders as late } from "../../src/gpu/shaders-late.gen.ts";
import { subgroupsOf } from "../../src/gpu/subgroups.ts";

const CONTROL = new Set(["subgroups", "subgroup-size-control"]);
const sizes = (subgroupMinSize: number, subgroupMaxSize: number) => ({ subgroupMinSize, subgroupMaxSize });

describe("subgroups", () => {
  it("the smallest size is named where sizes vary, so that the driver cannot be held to a wider one", () => {
    expect(subgroupsOf(CONTROL, sizes(8, 32))).toMatchObject({ size: 8, pinned: 8 }); // Intel
    expect(subgroupsOf(CONTROL, sizes(32, 64))).toMatchObject({ size: 32, pinned: 32 }); // AMD
    expect(subgroupsOf(CONTROL, sizes(32, 32))).toMatchObject({ size: 32, pinned: undefined }); // NVIDIA, Apple
  });

  it("without the feature the size stays open; without subgroups, or where a browser says no sizes, there is none", () => {
    expect(subgroupsOf(new Set(["subgroups"]), sizes(32, 64))).toMatchObject({ size: undefined, pinned: undefined });
    expect(subgroupsOf(new Set(["subgroups"]), sizes(8, 8))).toMatchObject({ size: 8, pinned: undefined });
    expect(subgroupsOf(new Set(), sizes(8, 8))).toMatchObject({ size: undefined, pinned: undefined });
    expect(subgroupsOf(CONTROL, {})).toEqual({ size: undefined, pinned: undefined, matrices: [] });
  });

  it("matrix units are taken as they are listed, but for those of Intel's that drivers emulate", () => {
    const subgroupMatrixConfigs = [{ componentType: "f16", resultComponentType: "f32", M: 8, N: 8, K: 16 }];
    const listed = (vendor: string, architecture: string) =>
      subgroupsOf(CONTROL, { ...sizes(8, 32), vendor, architecture, subgroupMatrixConfigs }).matrices.length;
    for (const architecture of ["gen-12hp", "xe-2lpg", "xe-2hpg"]) expect(listed("intel", architecture), architecture).toBe(1);
    for (const architecture of ["xe-lpg", "gen-12lp", "gen-9", ""]) expect(listed("intel", architecture), architecture).toBe(0);
    expect(listed("amd", "rdna-3")).toBe(1);
    class Native {
      get M() {
        return 16;
      }
    }
    const native = { subgroupMatrixConfigs: [new Native() as unknown as (typeof subgroupMatrixConfigs)[0]] };
    expect({ ...subgroupsOf(CONTROL, native).matrices[0]! }).toMatchObject({ M: 16 }); // Dawn's objects have getters: a copy of them is empty
  });

  it("every kernel of the library takes the size: one entry a kernel, its first dimension a multiple of 64 or 32", () => {
    const entries = Object.entries({ ...early, ...late }).filter(([, code]) => code.includes("@workgroup_size"));
    expect(entries.length).toBeGreaterThan(25);
    for (const [shader, code] of entries) {
      const text = kernelSource({ shader, code, consts: {}, bindings: "" }, 16);
      expect(text.match(/^@compute @subgroup_size\(16\) @workgroup_size\(/gm), shader).toHaveLength(1);
      expect(text.match(/@compute/g), shader).toHaveLength(1);
      const size = /@workgroup_size\((\w+)/.exec(text)![1]!;
      if (/^\d+$/.test(size)) expect(Number(size) % 32, shader).toBe(0);
      expect(text.startsWith("enable subgroups;\nenable subgroup_size_control;\n")).toBe(true);
    }
  });

  it("directives stand once, and nothing is named where nothing is pinned", () => {
    const spec = { shader: "norm.row", directives: ["enable subgroups;"], consts: { THREADS: 128 }, bindings: "" } as const;
    expect(kernelSource(spec, 8).match(/enable subgroups;/g)).toHaveLength(1);
    expect(kernelSource(spec)).not.toContain("subgroup_size");
  });
});
