import { describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { deviation } from "../../src/harness/bounds.ts";
import { defineCase, type Expectation, type KernelCase, type Operands } from "../../src/harness/case.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { Random } from "../../src/harness/random.ts";
import { type Outcome, runCase } from "../../src/harness/run.ts";
import { erf, gelu } from "../../src/reference/gelu.ts";
import { gatedEnergy, gatedMatmul, matmul, matmulEnergy } from "../../src/reference/matmul.ts";
import { swiglu } from "../../src/reference/swiglu.ts";
import { useGpu } from "../shared/gpu.ts";

let gpu: Gpu;
useGpu((opened) => {
  gpu = opened;
});

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

describe("outputs of few elements", () => {
  const LINEAR = "matvec(n=1,k=32,weights=q4,act=f32,bias,scale,residual";
  const GATED = "matvec(n=2,k=4,weights=f16,act=f32,swiglu";

  const cases = kernelCases(); // none of these is random
  const caseOf = (name: string): KernelCase => cases.find((test) => test.name === name)!;

  /** A case whose reference says something else. */
  const claiming = (test: KernelCase, other: (own: Expectation) => Expectation): KernelCase => ({
    ...test,
    record: (program, operands) => test.record(program, operands).map(other),
  });

  // Each is a sum that nearly cancels: held against itself alone, what f32 or f16 costs was over the bound on lavapipe. Operands follow
  // from the seed and the name, so these keep the names that variants had when it was found.
  it.for([[LINEAR, "gemv_subgroup", "subgroup", 1]] as const)(
    "%s by %s, once %s, with seed %d passes, and does not with an error of four bounds",
    async ([of, variant, once, seed], context) => {
      const test = { ...caseOf(`${of.replace("(", "(m=1,")},variant=${variant})`), name: `${of},variant=${once})` };
      const outcome = await runCase(gpu, test, seed);
      if (outcome.status === "unsupported") context.skip(`${outcome.reason}: lavapipe runs this`);
      expect(outcome.status).toBe("passed");
      const away = claiming(test, (own) => ({
        ...own,
        expected() {
          const [value, energy] = [own.expected()[0]!, own.energies!()[0]!];
          expect(value ** 2 / energy).toBeLessThan(0.02);
          return [value + 4 * Math.sqrt(test.bound!.nmse * energy)];
        },
      }));
      expect((await runCase(gpu, away, seed)).status).toBe("failed");
    },
  );

  /** Gives the kernel other values of an operand than the reference. */
  const instead =
    (of: string, change: (value: number, i: number) => number) =>
    ({ vector, activation }: Operands): Partial<Operands> => ({
      vector: (label, values) => vector(label, label === of ? values.map(change) : values),
      activation: (label, rows, width, values) => activation(label, rows, width, label === of ? values.map(change) : values),
    });

  it.each<[string, string, (own: Operands) => Partial<Operands>]>([
    ["drops the bias", LINEAR, instead("bias", () => 0)],
    ["does not scale", LINEAR, instead("scale", () => 1)],
    ["has the scale's sign wrong", LINEAR, instead("scale", (value) => -value)],
    ["drops the residual", LINEAR, instead("residual", () => 0)],
    ["drops a product", GATED, instead("x", (value, i) => (i === 2 ? 0 : value))],
    [
      "takes gate for up",
      GATED,
      ({ matrix }) => ({
        matrix(...of) {
          const { values, ...rest } = matrix(...of);
          return { ...rest, values: Float32Array.from([...values.subarray(4), ...values.subarray(0, 4)]) };
        },
      }),
    ],
  ])("catch a kernel that %s", async (_, name, plant) => {
    for (const seed of [1, 2, 3, 4]) {
      const test = caseOf(`${name.replace("(", "(m=1,")},variant=cpu_gemv_thread)`);
      expect((await runCase(gpu, test, seed)).status).toBe("passed");
      const wrong: KernelCase = { ...test, record: (program, own) => test.record(program, { ...own, ...plant(own) }) };
      expect((await runCase(gpu, wrong, seed)).status).toBe("failed");
    }
  });

  it("are held against their energies, more elements against themselves", () => {
    const wrong = [1e-3, 2];
    const right = [0, 2];
    expect(deviation(wrong, right).nmse).toBeCloseTo(1e-6 / 4, 15);
    expect(deviation(wrong, right, () => [5, 3])).toEqual({ nmse: 1e-6 / 8, largest: 1e-3 / Math.sqrt(5) });
    expect(deviation(wrong, right, () => [1, 2])).toEqual(deviation(wrong, right)); // less than the elements' own
    expect(deviation(wrong, right, () => [0, 0])).toEqual(deviation(wrong, right));
    const many = Array.from({ length: 16 }, (_, i) => i);
    const off = many.map((value) => value + 1);
    const never = () => {
      throw new Error("called");
    };
    expect(deviation(off, many, never)).toEqual(deviation(off, many));
    expect(() => deviation(off.slice(1), many.slice(1), never)).toThrow("called");
    for (const energies of [[1], [1, Number.NaN], [1, Number.POSITIVE_INFINITY]])
      expect(() => deviation(wrong, right, () => energies)).toThrow(/the energies of 2 elements/);
  });

  it("have the energy of their terms", () => {
    const [m, n, k] = [2, 4, 5];
    const random = new Random("energies");
    const [x, w] = [random.values(m * k), random.values(n * k)];
    const [bias, scale, residual] = [random.values(n), random.values(n), random.values(m * n)];
    const picked = { rows: [1], columns: [0, 1] };
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const products = (column: number) => Array.from({ length: k }, (_, i) => x[k + i]! * w[column * k + i]!);

    const energies = matmulEnergy(x, w, k, { bias, scale, residual }, picked);
    for (const column of picked.columns) {
      const terms = [...[...products(column), bias[column]!].map((term) => scale[column]! * term), residual[n + column]!];
      expect(matmul(x, w, k, { bias, scale, residual }, picked)[column]).toBeCloseTo(sum(terms), 14);
      expect(energies[column]).toBeCloseTo(sum(terms.map((term) => term ** 2)), 14);
    }

    // Of gate · up: what each term makes of y when it grows by a small part of itself, squared.
    const gated = gatedEnergy(x, w, k, picked);
    for (const column of picked.columns) {
      const [gates, ups] = [products(column), products(n / 2 + column)];
      const y = (factor: number, at: number) => {
        const grown = [...gates, ...ups].map((term, i) => (i === at ? factor * term : term));
        return swiglu(sum(grown.slice(0, k)), sum(grown.slice(k)));
      };
      expect(gatedMatmul(x, w, k, picked)[column]).toBeCloseTo(y(1, 0), 14);
      const slopes = Array.from({ length: 2 * k }, (_, at) => (y(1 + 1e-6, at) - y(1 - 1e-6, at)) / 2e-6);
      expect(gated[column]).toBeCloseTo(sum(slopes.map((slope) => slope ** 2)), 9);
    }
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
