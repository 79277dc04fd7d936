import { describe, expect, it } from "vitest";
import { Arena } from "../../src/gpu/arena.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import { defineCase } from "../../src/harness/case.ts";
import { type Outcome, runCase } from "../../src/harness/run.ts";
import { lib } from "../../src/ops/cpu/source.ts";
import {
  copyToTexture,
  probeTextureStorage,
  readsTextureStorage,
  TEXTURE_STORAGE,
  TEXTURE_WIDTH,
} from "../../src/ops/cpu/texture-storage.ts";
import type { Bindable } from "../../src/tensor/tensor.ts";
import { useGpu } from "../shared/gpu.ts";

let gpu: Gpu;
useGpu((opened) => {
  gpu = opened;
});

const VEC4S = TEXTURE_WIDTH + 100; // more than a row
const code = `@group(0) @binding(2) var t: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < ${VEC4S}u) { y[id.x] = textureLoad(t, texture_at(id.x)); }
}`;
const fromTexture = { shader: "from texture storage", libs: [lib("texture")], code, consts: { TEXTURE_WIDTH }, bindings: "uutw" };
const workgroups = () => [Math.ceil(VEC4S / 64), 1, 1] as const;

/** x → texture storage → y; `write` says whether the texture is written at all. */
const copied = (write: boolean) =>
  defineCase(
    "copy",
    {},
    {
      step: { units: VEC4S, start: 0 },
      bound: { nmse: 0, largest: 0 },
      record(program, { random, activation }) {
        const xs = random.values(4 * 2 * TEXTURE_WIDTH);
        const x = activation("x", { base: 2 * TEXTURE_WIDTH, unit: 0 }, 4, xs); // whole rows are copied
        const y = program.activation("y", { base: 0, unit: 1 }, 4);
        const texture = program.arena.takeOther(TEXTURE_STORAGE, VEC4S);
        if (write) copyToTexture(program, { from: x.buffer, to: texture, count: ({ units }) => units });
        program.dispatch({ kernel: fromTexture, params: [], buffers: [texture, y.buffer], workgroups });
        return [
          { label: "y", buffer: y.buffer, kind: "f32", length: 4 * VEC4S, expected: () => Float64Array.from(xs.subarray(0, 4 * VEC4S)) },
        ];
      },
    },
  );

describe("scratch texture storage", () => {
  it("holds f32 exactly, on past the end of a row", async () => {
    await probeTextureStorage(gpu);
    expect(readsTextureStorage(gpu)).toBe(true); // Dawn's compiler has the language feature on every adapter
    expect(await runCase(gpu, copied(true))).toEqual({ status: "passed", nmse: 0, largest: 0 });
    expect(gpu.memory.entries()).toEqual([]);
  });

  it("is poisoned by the harness: what was not written is found", async () => {
    const outcome = (await runCase(gpu, copied(false))) as Outcome & { reason: string };
    expect(outcome).toMatchObject({ status: "failed", reason: expect.stringMatching(/y: element 0 of \d+ is (not written|NaN)/) });
  });

  it("stands in the ledger, and is used again after its scope", () => {
    const arena = new Arena(gpu.memory);
    const [first, other] = arena.scope(() => [arena.takeOther(TEXTURE_STORAGE, 10), arena.takeOther(TEXTURE_STORAGE, 10)]);
    expect(first).not.toBe(other);
    expect(arena.scope(() => arena.takeOther(TEXTURE_STORAGE, TEXTURE_WIDTH))).toBeOneOf([first, other]);
    const row = 16 * TEXTURE_WIDTH;
    expect(gpu.memory.entries()).toEqual([first, other].map(() => ({ label: "activations in texture storage", bytes: row })));
    gpu.memory.clear();
    const most = TEXTURE_WIDTH * gpu.device.limits.maxTextureDimension2D;
    expect(() => TEXTURE_STORAGE.make(gpu.memory, most + 1)).toThrow(
      /texture "activations in texture storage" needs \d+ rows, this adapter allows/,
    );
  });

  it("is bound as what it is", async () => {
    const programs = new Programs(gpu);
    const bad = (storage: (p: Program) => (Bindable | GPUTexture)[]) =>
      programs.record("bad", 1, (p) => p.dispatch({ kernel: fromTexture, params: [], buffers: storage(p), workgroups }));
    await expect(bad(({ arena }) => [arena.take(64), arena.take(64)])).rejects.toThrow(
      /binding 2 \("activations"\) is a buffer, it has to be a texture/,
    );
    await expect(bad(({ arena }) => [arena.takeOther(TEXTURE_STORAGE, 4), arena.takeOther(TEXTURE_STORAGE, 4)])).rejects.toThrow(
      /binding 3 \("activations in texture storage"\) is a texture, it has to be a buffer/,
    );
    gpu.memory.clear();
  });
});
