import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Arena } from "../../src/gpu/arena.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { TEXELS_WIDE } from "../../src/gpu/memory.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import { defineCase } from "../../src/harness/case.ts";
import { type Outcome, runCase } from "../../src/harness/run.ts";
import type { Bindable } from "../../src/tensor/tensor.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openGpu();
});
afterAll(() => gpu.close());

const QUADS = TEXELS_WIDE + 100; // more than a row of texels
const kernel = (name: string, declarations: string, body: string, bindings: string) => ({
  shader: name,
  libs: ["lib/texels"] as const,
  code: `${declarations}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { let i = id.x; if (i < ${QUADS}u) { ${body} } }`,
  consts: { TEXELS_WIDE },
  bindings,
});
const BUFFER = (binding: number, access: string, name: string) =>
  `@group(0) @binding(${binding}) var<storage, ${access}> ${name}: array<vec4<f32>>;`;
const toTexels = kernel(
  "to texels",
  `${BUFFER(2, "read", "x")} @group(0) @binding(3) var t: texture_storage_2d<rgba32float, write>;`,
  "textureStore(t, texel(i), x[i]);",
  "uuro",
);
const fromTexels = kernel(
  "from texels",
  `@group(0) @binding(2) var t: texture_storage_2d<rgba32float, read>; ${BUFFER(3, "read_write", "y")}`,
  "y[i] = textureLoad(t, texel(i));",
  "uuiw",
);
const workgroups = () => [Math.ceil(QUADS / 64), 1, 1] as const;

/** x → texels → y; `write` says whether the texels are written at all. */
const copied = (write: boolean) =>
  defineCase(
    "copy",
    {},
    {
      step: { units: QUADS, start: 0 },
      bound: { nmse: 0, largest: 0 },
      record(program, { random, activation }) {
        const xs = random.values(4 * QUADS);
        const x = activation("x", { base: 0, unit: 1 }, 4, xs);
        const y = program.activation("y", x.rows, 4);
        const texels = program.arena.takeTexels(QUADS);
        if (write) program.dispatch({ kernel: toTexels, params: [], buffers: [x.buffer, texels], workgroups });
        program.dispatch({ kernel: fromTexels, params: [], buffers: [texels, y.buffer], workgroups });
        return [{ label: "y", buffer: y.buffer, kind: "f32", length: 4 * QUADS, expected: () => Float64Array.from(xs) }];
      },
    },
  );

describe("scratch storage in texels", () => {
  it("holds f32 exactly, on past the end of a row", async () => {
    expect(gpu.readsTexels).toBe(true); // Dawn's compiler has the language feature on every adapter
    expect(await runCase(gpu, copied(true))).toEqual({ status: "passed", nmse: 0, largest: 0 });
    expect(gpu.memory.entries()).toEqual([]);
  });

  it("is poisoned by the harness: what was not written is found", async () => {
    const outcome = (await runCase(gpu, copied(false))) as Outcome & { reason: string };
    expect(outcome).toMatchObject({ status: "failed", reason: expect.stringMatching(/y: element 0 of \d+ is (not written|NaN)/) });
  });

  it("stands in the ledger, and is used again after its scope", () => {
    const arena = new Arena(gpu.memory);
    const [first, other] = arena.scope(() => [arena.takeTexels(10), arena.takeTexels(10)]);
    expect(first).not.toBe(other);
    expect(arena.scope(() => arena.takeTexels(TEXELS_WIDE))).toBeOneOf([first, other]);
    const row = 16 * TEXELS_WIDE;
    expect(gpu.memory.entries()).toEqual([first, other].map(() => ({ label: "activations in texels", bytes: row })));
    gpu.memory.clear();
    const most = TEXELS_WIDE * gpu.device.limits.maxTextureDimension2D;
    expect(() => gpu.memory.createTexels("huge", most + 1)).toThrow(/texture "huge" needs \d+ rows of texels, this adapter allows/);
  });

  it("is bound as what it is, and never read and written at once", async () => {
    const programs = new Programs(gpu);
    const refused = async (spec: typeof toTexels, buffers: (p: Program) => (Bindable | GPUTexture)[], message: RegExp) =>
      expect(programs.record("bad", 1, (p) => p.dispatch({ kernel: spec, params: [], buffers: buffers(p), workgroups }))).rejects.toThrow(
        message,
      );
    const two = { ...toTexels, bindings: "uuio" };
    await refused(toTexels, (p) => [p.arena.take(64), p.arena.take(64)], /binding 3 \("activations"\) is no texels, which it has to be/);
    await refused(toTexels, (p) => [p.arena.takeTexels(4), p.arena.takeTexels(4)], /binding 2 \(.*\) is texels, it has to be a buffer/);
    await refused(two, (p) => [p.arena.takeTexels(4)].flatMap((t) => [t, t]), /texels are bound twice, and they are written/);
    gpu.memory.clear();
  });
});
