import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Arena } from "../../src/gpu/arena.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import { defineCase } from "../../src/harness/case.ts";
import { type Outcome, runCase } from "../../src/harness/run.ts";
import { lib } from "../../src/ops/cpu/source.ts";
import { copyTexels, probeTexels, readsTexels, TEXELS, TEXELS_WIDE } from "../../src/ops/cpu/texels.ts";
import type { Bindable } from "../../src/tensor/tensor.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openGpu();
});
afterAll(() => gpu.close());

const QUADS = TEXELS_WIDE + 100; // more than a row of texels
const code = `@group(0) @binding(2) var t: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < ${QUADS}u) { y[id.x] = textureLoad(t, texel(id.x)); }
}`;
const fromTexels = { shader: "from texels", libs: [lib("texture")], code, consts: { TEXELS_WIDE }, bindings: "uutw" };
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
        const xs = random.values(4 * 2 * TEXELS_WIDE);
        const x = activation("x", { base: 2 * TEXELS_WIDE, unit: 0 }, 4, xs); // whole rows are copied
        const y = program.activation("y", { base: 0, unit: 1 }, 4);
        const texels = program.arena.takeOther(TEXELS, QUADS);
        if (write) copyTexels(program, { from: x.buffer, to: texels, count: ({ units }) => units });
        program.dispatch({ kernel: fromTexels, params: [], buffers: [texels, y.buffer], workgroups });
        return [
          { label: "y", buffer: y.buffer, kind: "f32", length: 4 * QUADS, expected: () => Float64Array.from(xs.subarray(0, 4 * QUADS)) },
        ];
      },
    },
  );

describe("scratch storage in texels", () => {
  it("holds f32 exactly, on past the end of a row", async () => {
    await probeTexels(gpu);
    expect(readsTexels(gpu)).toBe(true); // Dawn's compiler has the language feature on every adapter
    expect(await runCase(gpu, copied(true))).toEqual({ status: "passed", nmse: 0, largest: 0 });
    expect(gpu.memory.entries()).toEqual([]);
  });

  it("is poisoned by the harness: what was not written is found", async () => {
    const outcome = (await runCase(gpu, copied(false))) as Outcome & { reason: string };
    expect(outcome).toMatchObject({ status: "failed", reason: expect.stringMatching(/y: element 0 of \d+ is (not written|NaN)/) });
  });

  it("stands in the ledger, and is used again after its scope", () => {
    const arena = new Arena(gpu.memory);
    const [first, other] = arena.scope(() => [arena.takeOther(TEXELS, 10), arena.takeOther(TEXELS, 10)]);
    expect(first).not.toBe(other);
    expect(arena.scope(() => arena.takeOther(TEXELS, TEXELS_WIDE))).toBeOneOf([first, other]);
    const row = 16 * TEXELS_WIDE;
    expect(gpu.memory.entries()).toEqual([first, other].map(() => ({ label: "activations in texels", bytes: row })));
    gpu.memory.clear();
    const most = TEXELS_WIDE * gpu.device.limits.maxTextureDimension2D;
    expect(() => TEXELS.make(gpu.memory, most + 1)).toThrow(
      /texture "activations in texels" needs \d+ rows of texels, this adapter allows/,
    );
  });

  it("is bound as what it is", async () => {
    const programs = new Programs(gpu);
    const bad = (storage: (p: Program) => (Bindable | GPUTexture)[]) =>
      programs.record("bad", 1, (p) => p.dispatch({ kernel: fromTexels, params: [], buffers: storage(p), workgroups }));
    await expect(bad(({ arena }) => [arena.take(64), arena.take(64)])).rejects.toThrow(
      /binding 2 \("activations"\) is a buffer, it has to be a texture/,
    );
    await expect(bad(({ arena }) => [arena.takeOther(TEXELS, 4), arena.takeOther(TEXELS, 4)])).rejects.toThrow(
      /binding 3 \("activations in texels"\) is a texture, it has to be a buffer/,
    );
    gpu.memory.clear();
  });
});
