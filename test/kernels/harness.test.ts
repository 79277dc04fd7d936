import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { defineCase, type KernelCase } from "../../src/harness/case.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { type Outcome, runCase } from "../../src/harness/run.ts";
import { erf, gelu } from "../../src/reference/gelu.ts";

let gpu: Gpu;
beforeAll(async () => {
  gpu = await openGpu();
});
afterAll(() => gpu.close());

const N = 100;

/** y = 2 x on N values, written by a body that gets the thread's number `i`. */
function double(body: string, change: Partial<KernelCase> = {}): KernelCase {
  const code = `
    @group(0) @binding(2) var<storage, read_write> x: array<f32>;
    @group(0) @binding(3) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { let i = id.x; ${body} }`;
  return defineCase(
    "double",
    { n: N },
    {
      step: { units: N, start: 0 },
      maxUnits: N + 5,
      bound: { nmse: 1e-12, largest: 1e-6 },
      record(program, { random, activation }) {
        const xs = random.values(N);
        const x = activation("x", { base: 0, unit: 1 }, 1, xs);
        const y = program.activation("y", x.rows, 1);
        const kernel = { shader: "double", code, consts: {}, bindings: "uuww" };
        program.dispatch({ kernel, params: [], buffers: [x.buffer, y.buffer], workgroups: () => [2, 1, 1] });
        return [{ label: "y", buffer: y.buffer, kind: "f32", length: N, expected: () => Float64Array.from(xs, (v) => 2 * v) }];
      },
      ...change,
    },
  );
}

const right = `if (i < ${N}u) { y[i] = 2.0 * x[i]; }`;

describe("the harness", () => {
  it("passes a kernel that is right", async () => {
    expect(await runCase(gpu, double(right))).toEqual({ status: "passed", nmse: 0, largest: 0 });
  });

  it.each([
    ["writes past the step's rows", `${right} if (i == 0u) { y[${N}] = 1.0; }`, /y: element 100, past the 100 of this step, is written/],
    ["writes one element past its end", `${right} if (i == 0u) { y[${N + 5}] = 1.0; }`, /the guard behind it is written to/],
    ["writes far behind its end", `${right} if (i == 0u) { y[${N + 5 + 1023}] = 1.0; }`, /the guard behind it is written to/],
    ["leaves an element unwritten", `if (i < ${N}u && i != 63u) { y[i] = 2.0 * x[i]; }`, /y: element 63 of 100 is not written/],
    ["has one wrong result", `${right} if (i == 99u) { y[i] = 2.0001 * x[i]; }`, /y: NMSE .* \(bound 1e-12\)/],
    ["makes a NaN", `${right} if (i == 7u) { y[i] = bitcast<f32>(0x7fc00000u + i); }`, /y: element 7 of 100 is NaN/],
    ["makes an infinity", `${right} if (i == 8u) { y[i] = bitcast<f32>(0x7f800000u + (i & 1u)); }`, /y: element 8 of 100 is Infinity/],
    ["writes to its operand", `${right} if (i == 3u) { x[i] = 0.0; }`, /x: an operand is changed/],
    ["takes in what lies behind its operand", `if (i < ${N}u) { y[i] = 2.0 * x[i] + 1e-30 * x[i + 60u]; }`, /is (NaN|not written)/],
    ["does not compile", "y[i] = nonsense;", /limit-exceeded: kernel double .* does not compile/],
  ])("catches a kernel that %s", async (_, body, reason) => {
    const outcome = (await runCase(gpu, double(body))) as Outcome & { reason: string };
    expect(outcome.status).toBe("failed");
    expect(outcome.reason).toMatch(reason);
    expect(gpu.memory.entries()).toEqual([]);
  });

  it("tells what an adapter lacks apart from failures", async () => {
    const lacking = double(right, { unsupported: () => "no such feature" });
    expect(await runCase(gpu, lacking)).toEqual({ status: "unsupported", reason: "no such feature" });
    const large = double(right, {
      record(_, { storage }) {
        storage("huge", new Float32Array(1), gpu.device.limits.maxStorageBufferBindingSize / 4);
        return [];
      },
    });
    // Storage as large as a binding may be has no room for its guards.
    expect(await runCase(gpu, large)).toMatchObject({
      status: "unsupported",
      reason: expect.stringMatching(/needs .* this adapter allows/),
    });
  });

  it("gives the same operands for a seed, others for another", async () => {
    const seen: number[] = [];
    const test = double(right);
    const record: KernelCase["record"] = (program, operands) => {
      seen.push(operands.random.next());
      return test.record(program, operands);
    };
    for (const seed of [1, 1, 2]) await runCase(gpu, { ...test, record }, seed);
    expect(seen[0]).toBe(seen[1]);
    expect(seen[0]).not.toBe(seen[2]);
  });

  it("has at least 2000 cases, each with a name of its own, and the seed chooses the random ones", () => {
    const names = (seed: number) => kernelCases(seed).map(({ name }) => name);
    expect(names(1).length).toBeGreaterThanOrEqual(2000);
    expect(names(1)).toEqual(names(1));
    expect(names(1)).not.toEqual(names(2));
  });
});

describe("erf and gelu in float64", () => {
  // Abramowitz & Stegun, table 7.1, and erfc(3), erfc(5) to 15 digits.
  it.each([
    [0, 0],
    [0.5, 0.520499877813047],
    [1, 0.842700792949715],
    [2, 0.995322265018953],
    [3, 0.999977909503001],
  ])("erf(%d)", (x, value) => {
    expect(erf(x)).toBeCloseTo(value, 14);
    expect(erf(-x)).toBeCloseTo(-value, 14);
  });

  it("is smooth where the series meets the continued fraction, and has no cancellation in the tail", () => {
    expect(Math.abs(erf(2.5 + 1e-12) - erf(2.5 - 1e-12))).toBeLessThan(1e-14);
    expect(gelu(-6 * Math.SQRT2) / ((-6 * Math.SQRT2) / 2)).toBeCloseTo(2.1519736712498913e-17, 30);
  });
});
