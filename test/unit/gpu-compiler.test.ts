import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { shaders as early } from "../../src/gpu/shaders.gen.ts";
import { shaders as late } from "../../src/gpu/shaders-late.gen.ts";
import { checkSystem } from "../../tools/gpu-compiler/driver.ts";
import { FAMILIES, type FamilyName, familyOf } from "../../tools/gpu-compiler/families.ts";
import { formatLimits, isMeant, LIMITS, type Limits, readLimits, shortfalls, tightened } from "../../tools/gpu-compiler/limits.ts";
import { hotLoop, loopsOf, tally } from "../../tools/gpu-compiler/loops.ts";
import { kernelName } from "../../tools/gpu-compiler/recorder.ts";
import { type Row, readRows } from "../../tools/gpu-compiler/rows.ts";
import { describeFamily, describeShortfall } from "../../tools/gpu-compiler/table.ts";
import { entryPoints, withSubgroupSize } from "../../tools/gpu-compiler/wgsl.ts";
import { pathOf } from "../support.ts";

const recorded = (family: string) => readFileSync(pathOf(`test/fixtures/gpu-compiler/${family}.jsonl`), "utf8");
const lines = (...all: object[]) => all.map((each) => `${JSON.stringify(each)}\n`).join("");
const DONE = { done: true, adapter: "a compiler", uses: { 0: ["4b q4"], 1: ["1b q4", "4b q4"] } };

describe("what compilers say, as recorded of test/fixtures/gpu-compiler/dot.wgsl", () => {
  const read = (family: FamilyName) => {
    const { rows, crashed, adapter } = readRows(family, recorded(family));
    expect(crashed).toBeUndefined();
    expect(adapter).toMatch(/Mesa \d+\.\d+/);
    expect(rows).toHaveLength(1);
    return rows[0]!;
  };

  it("AMD's", () => {
    const row = read("navi31");
    expect(row).toMatchObject({ family: "navi31", spills: 0, scratch: 0, workgroup: 64 });
    expect(row.loops).toHaveLength(2);
    expect(hotLoop(row.loops!)).toMatchObject({ innermost: true, mix: { fma: 4, memory: 2 }, wide: { buffer_load_b128: 2 } });
  });

  it("Intel's", () => {
    const row = read("dg2");
    expect(row).toMatchObject({ family: "dg2", spills: 0, fills: 0, scratch: 0, workgroup: 64, shared: 256 });
    expect(row.occupancy).toBe(128); // 64 invocations of 16 lanes are 4 threads, and a core has room for 128
    expect(hotLoop(row.loops!)).toMatchObject({ innermost: true, mix: { fma: 4, memory: 2 }, wide: { "memory.load.d32x4": 2 } });
  });

  it("NVIDIA's", () => {
    const row = read("ad102");
    expect(row).toMatchObject({ family: "ad102", spills: 0, fills: 0, scratch: 0, workgroup: 64, subgroupSize: 32, occupancy: 48 });
    expect(hotLoop(row.loops!)).toMatchObject({ innermost: true, mix: { fma: 4 }, wide: { "ld.global.b32": 8 } });
  });

  it("Apple's, which come without a text of the machine code", () => {
    const row = read("m1");
    expect(row).toMatchObject({ family: "m1", spills: 0, fills: 0, scratch: 0, occupancy: 1024 });
    expect(row.loops).toBeUndefined();
    expect(describeFamily("m1", "Honeykrisp", [row])).toMatch(
      /^m1 \(Apple M1; Honeykrisp\).*threads\/core\n {2}kernel .*\n {2}\S+dot\.wgsl +32 /,
    );
  });
});

describe("what the child process and the driver write", () => {
  const own = { subgroupSize: 32, workgroup: 64, compileMs: 5, VGPRs: 24, "Spilled VGPRs": 0 };

  it("gives each kernel its numbers and those who run it", () => {
    const { rows } = readRows("navi31", lines({ kernel: "a", id: 0 }, own, { kernel: "b", id: 1 }, { ...own, VGPRs: 60 }, DONE));
    expect(rows.map(({ kernel, registers, usedBy }) => [kernel, registers, usedBy])).toEqual([
      ["a", 24, ["4b q4"]],
      ["b", 60, ["1b q4", "4b q4"]],
    ]);
  });

  it("a kernel that does not compile is a row with the reason, also where that comes late; what stands in for it is none", () => {
    const text = lines(
      { kernel: "a", id: 0 },
      { failed: -13 },
      { kernel: "", id: -1 },
      own,
      { kernel: "b", id: 1 },
      own,
      { error: "scratch larger than supported", id: 0 },
      DONE,
    );
    const { rows } = readRows("bmg", text);
    expect(rows.map(({ kernel, failed }) => [kernel, failed])).toEqual([
      ["a", "scratch larger than supported"],
      ["b", undefined],
    ]);
    expect(describeFamily("bmg", "ANV", rows)).toContain("a       DOES NOT COMPILE: scratch larger than supported");
  });

  it("a compiler that crashes is known by the kernel that it was at", () => {
    const { rows, crashed, adapter } = readRows("dg2", lines({ kernel: "a", id: 0 }, own, { kernel: "b", id: 1 }));
    expect([rows.length, crashed, adapter]).toEqual([1, "b", ""]);
    expect(readRows("dg2", "")).toEqual({ adapter: "", rows: [], texts: [], tokens: [] });
  });
});

describe("loops", () => {
  it("AMD's dual and packed multiply-adds, matrix and dot instructions, waits and hints are told apart", () => {
    const isa = `BB0:
s_mov_b32 s0, 0                       ; be800080
BB1:
v_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6 ; c8000000
v_pk_fma_f16 v1, v2, v3, v4
v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]
v_dot4_i32_iu8 v0, v1, v2, v0
scratch_load_b32 v1, off, off
ds_load_b128 v[0:3], v9
global_load_b64 v[0:1], v[2:3], off
s_waitcnt vmcnt(0)
s_delay_alu instid0(VALU_DEP_1)
v_exp_f32_e32 v1, v1
v_mul_f32_e32 v1, v2, v1
s_cbranch_scc1 BB1
BB2:
s_endpgm`;
    expect(loopsOf("AMD", isa)).toEqual([
      {
        innermost: true,
        instructions: 13,
        pairs: 1,
        mix: { fma: 3, matrix: 1, dot4: 1, scratch: 1, shared: 1, memory: 1, wait: 1, hint: 1, special: 1, float: 1, branch: 1 },
        wide: { v_wmma_f32_16x16x16_f16: 1, scratch_load_b32: 1, ds_load_b128: 1, global_load_b64: 1 },
      },
    ]);
  });

  it("Intel's matrix, dot and scratch messages, and a loop within a loop", () => {
    const isa = `LABEL0:
mov(8)          g1<1>UD         0x00000000UD                    { align1 1Q };
LABEL1:
dpas.8x8(8)     g2<1>F          g2<1,1,0>F      g10<1,1,0>HF    g20<1,1,0>HF { align1 WE_all 1Q $0 };
dp4a(16)        g5<1>D          g5<8,8,1>D      g6<8,8,1>D      g7<1,1,1>D { align1 1H };
mad(16)         g5<1>D          g5<8,8,1>D      g6<8,8,1>W      g7<1,1,1>W { align1 1H };
send(16)        g15UD           g93UD           nullUD          0x64803500                0x06000000
                            ugm MsgDesc: ( load, a32, d32, V4, L1STATE_L3MOCS dst_len = 8, ss ) surface_state_index 0 { align1 1H $0 };
send(16)        g15UD           g93UD           nullUD          0x64803500                0x06000000
                            slm MsgDesc: ( store, a32, d32, V2, L1STATE_L3MOCS dst_len = 8 flat )  base_offset 0  { align1 1H $0 };
sync nop(1)                     null<0,1,0>UB                   { align1 WE_all 1N $1.src };
(+f0.0) while(16) JIP:  LABEL1                                  { align1 1H };
while(16)       JIP:  LABEL0                                    { align1 1H };`;
    const [outer, inner] = loopsOf("Intel", isa)!;
    expect([outer!.innermost, outer!.instructions]).toEqual([false, 9]);
    expect(inner).toEqual({
      innermost: true,
      instructions: 7,
      mix: { matrix: 1, dot4: 1, int: 1, scratch: 1, shared: 1, wait: 1, branch: 1 },
      wide: { "scratch.load.d32x4": 1, "shared.store.d32x2": 1 },
    });
  });

  it("NVIDIA's loop over several blocks, with what is predicated and what goes through local memory", () => {
    const isa = `block.u 0 L0 [] -> {
      ur0     = s2r sr[0x25]                              // delay=1 wr:0
} -> [1]
block 1 L1 [0, 2] -> {
      r1      = hmma.m16n8k16.f32 r4 r8 r1                // delay=1
      r18     = ld.global.a64.constant.b128 [r20..22], p0 // delay=2 wr:0
@!p0  r2      = ld.local.a32.b32 [r3]                     // delay=2
} -> [2, 3]
block 2 L2 [1] -> {
      r18     = ffma.ftz r13 r21 r10                      // delay=4
                bra pT L1                                 // delay=1
} -> [1]
block 3 L3 [1] -> {
                exit pT                                   // delay=1
} -> []`;
    expect(loopsOf("NVIDIA", isa)).toEqual([
      {
        innermost: true,
        instructions: 5,
        mix: { matrix: 1, memory: 1, scratch: 1, fma: 1, branch: 1 },
        wide: { "hmma.m16n8k16.f32": 1, "ld.global.b128": 1, "ld.local.b32": 1 },
      },
    ]);
  });

  it("the hot one is the innermost with the most multiply-adds, not the longest; a short one is none", () => {
    const loop = (innermost: boolean, fma: number, int: number) =>
      tally(innermost, [...Array(fma).fill({ kind: "fma" }), ...Array(int).fill({ kind: "int" })]);
    expect(hotLoop([loop(true, 4, 100), loop(true, 32, 20), loop(false, 400, 0)])).toEqual(loop(true, 32, 20));
    expect(hotLoop([loop(true, 3, 1)])).toBeUndefined();
  });
});

describe("limits", () => {
  const row = (more: Partial<Row> = {}): Row => ({
    family: "navi31",
    kernel: "attention.flash(D=128,kv.f16)",
    usedBy: [],
    spills: 31,
    compileMs: 40,
    ...more,
  });
  const limits = (more: Partial<Limits> = {}): Limits => ({
    rules: [{ atMost: { failed: 0, spills: 0, compileMs: 1000 }, why: "w" }],
    exceptions: [{ kernel: "attention.flash(D=128)", why: "mended in §5", numbers: { navi31: { spills: 31, compileMs: 2000 } } }],
    ...more,
  });

  it("an exception is meant by the shader and the parts that it names", () => {
    expect(isMeant("attention.flash", "attention.flash(D=128,kv.f16)")).toBe(true);
    expect(isMeant("attention.flash(kv.f16)", "attention.flash(D=128,kv.f16)")).toBe(true);
    expect(isMeant("attention.flash(kv.f16,D=128)", "attention.flash(D=128,kv.f16)")).toBe(true);
    expect(isMeant("attention.flash(D=12)", "attention.flash(D=128,kv.f16)")).toBe(false);
    expect(isMeant("attention", "attention.flash(D=128,kv.f16)")).toBe(false);
    expect(isMeant("swiglu", "swiglu")).toBe(true);
    expect(isMeant("swiglu(D=64)", "swiglu")).toBe(false);
  });

  it("what is known may shrink, never grow; other families and other numbers are not excused", () => {
    const found = (more: Partial<Row>) => shortfalls([row(more)], limits()).map((s) => [s.measure, s.value, s.exception !== undefined]);
    expect(found({})).toEqual([["spills", 31, true]]);
    expect(found({ spills: 30 })).toEqual([["spills", 30, true]]);
    expect(found({ spills: 32 })).toEqual([["spills", 32, false]]);
    expect(found({ family: "dg2" })).toEqual([["spills", 31, false]]);
    expect(found({ spills: 0 })).toEqual([]);
    expect(found({ failed: "no", spills: 0 })).toEqual([["failed", 1, false]]);
    expect(found({ spills: 0, compileMs: 7999 })).toEqual([["compileMs", 7999, true]]); // times are another every time: four times as much
    expect(found({ spills: 0, compileMs: 8001 })).toEqual([["compileMs", 8001, false]]);
  });

  it("a rule can be of a kernel and a maker, ask for a least number, and for a share of the hot loop", () => {
    const loops = [tally(true, [...Array(30).fill({ kind: "fma" }), ...Array(70).fill({ kind: "int" })])];
    const rules = [{ kernel: "attention.flash(D=128)", on: ["AMD"], atLeast: { occupancy: 8, "hot.fma": 0.45 }, why: "w" }];
    const found = shortfalls(
      [row({ occupancy: 4, loops }), row({ family: "m1", occupancy: 4, loops }), row({ kernel: "x", occupancy: 4 })],
      limits({ rules }),
    );
    expect(found.map((each) => describeShortfall(each))).toEqual([
      "attention.flash(D=128,kv.f16) on navi31: occupancy 4, at least 8",
      "attention.flash(D=128,kv.f16) on navi31: hot.fma 0.30, at least 0.45",
    ]);
    expect(shortfalls([row()], limits({ rules }))).toEqual([]); // what a compiler does not say is not held against it
  });

  it("exceptions are tightened to what is found, and go where nothing needs them; never the other way", () => {
    const two = limits({
      exceptions: [{ kernel: "attention.flash", why: "w", numbers: { navi31: { spills: 31, compileMs: 2000 }, dg2: { spills: 9 } } }],
    });
    const numbers = (rows: Row[]) => tightened(two, rows, ["navi31"]).map((each) => each.numbers);
    expect(numbers([row({ spills: 12 }), row({ spills: 20 })])).toEqual([{ navi31: { spills: 20 }, dg2: { spills: 9 } }]);
    expect(numbers([row({ spills: 0 })])).toEqual([{ dg2: { spills: 9 } }]);
    expect(numbers([row({ spills: 40 })])).toEqual([{ dg2: { spills: 9 } }]); // it falls short, and is no exception
    expect(tightened(two, [row({ spills: 0 })], ["navi31", "dg2"])).toEqual([]);
  });

  it("are written as they were read, a line a family", () => {
    const text = formatLimits(limits());
    expect(JSON.parse(text)).toEqual(limits());
    expect(text).toContain('\n        "navi31": {"spills":31,"compileMs":2000}\n');
    expect(formatLimits(readLimits())).toBe(readFileSync(LIMITS, "utf8"));
  });

  it("the checked-in ones name families, shaders and reasons", () => {
    const { rules, exceptions } = readLimits();
    expect(rules.length).toBeGreaterThan(0);
    for (const { kernel, why, numbers } of exceptions) {
      expect(Object.keys({ ...early, ...late })).toContain(kernel.split("(")[0]);
      expect(why.length).toBeGreaterThan(20);
      for (const family of Object.keys(numbers)) expect(Object.keys(FAMILIES)).toContain(family);
    }
  });
});

describe("WGSL of a kernel author's", () => {
  it("its entry points are found, not those in comments, and not other functions", () => {
    const source = `// @compute @workgroup_size(1) fn old() {}
      fn helper() {} /* @compute fn gone() {} */
      @compute @workgroup_size(8, 8) fn first() {}
      @workgroup_size(64) @compute
      fn second(@builtin(global_invocation_id) id: vec3<u32>) {}
      @vertex fn third() -> @builtin(position) vec4f { return vec4f(); }`;
    expect(entryPoints(source)).toEqual(["first", "second"]);
    expect(entryPoints("fn f() {}")).toEqual([]);
  });

  it("a subgroup size is put in, or replaces the one that is there, and lines keep their numbers", () => {
    const plain = "// a kernel\n@compute @workgroup_size(64) fn main() {}\n";
    expect(withSubgroupSize(plain, 16)).toBe(
      "enable subgroups; enable subgroup_size_control;// a kernel\n@compute @workgroup_size(64) @subgroup_size(16) fn main() {}\n",
    );
    const named = "enable subgroups, subgroup_size_control;\n@compute @workgroup_size(64) @subgroup_size(SIZE) fn main() {}\n";
    expect(withSubgroupSize(named, 8)).toBe(named.replace("SIZE", "8"));
  });
});

describe("families", () => {
  it("drm.c has what is not AMD's, by the same names", () => {
    const source = readFileSync(pathOf("tools/gpu-compiler/drm.c"), "utf8");
    const there = [...source.matchAll(/^ {2}\{"(\w+)", (INTEL|NVIDIA|APPLE),/gm)].map(([, name, maker]) => [name, maker]);
    const wanted = (Object.keys(FAMILIES) as FamilyName[]).map((name) => [name, familyOf(name).maker.toUpperCase()]);
    expect(there).toEqual(wanted.filter(([, maker]) => maker !== "AMD"));
  });

  it("a kernel's name has its constants and the libraries that are one of several", () => {
    const spec = {
      shader: "matmul.gemv",
      libs: ["lib/step", "lib/weight.q4", { code: "" }],
      consts: { ROWS: 2, LAST: true, LAYER: false },
      bindings: "u",
    } as const;
    expect(kernelName(spec)).toBe("matmul.gemv(ROWS=2,LAST,weight.q4)");
    expect(kernelName({ shader: "swiglu", consts: {}, bindings: "u" })).toBe("swiglu");
  });

  it("other systems are told what to do", () => {
    expect(() => checkSystem("linux", "x64")).not.toThrow();
    for (const [platform, arch] of [
      ["darwin", "arm64"],
      ["win32", "x64"],
      ["linux", "arm64"],
    ] as const)
      expect(() => checkSystem(platform, arch)).toThrow(`GPUs' compilers run on Linux x64, this is ${platform} ${arch}`);
  });
});
