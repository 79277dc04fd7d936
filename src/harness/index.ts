import type { KernelCase } from "./case.ts";
import { attentionCases } from "./cases/attention.ts";
import { awqCases } from "./cases/awq.ts";
import { convertCases } from "./cases/convert.ts";
import { loraCases } from "./cases/lora.ts";
import { matmulCases } from "./cases/matmul.ts";
import { normCases } from "./cases/norm.ts";
import { patchCases } from "./cases/patch.ts";
import { ropeCases } from "./cases/rope.ts";
import { rowwiseCases } from "./cases/rowwise.ts";
import { sampleCases } from "./cases/sample.ts";
import { synthCases } from "./cases/synth.ts";
import { Random } from "./random.ts";

const FAMILIES: readonly ((random: Random) => KernelCase[])[] = [
  matmulCases,
  attentionCases,
  normCases,
  ropeCases,
  rowwiseCases,
  patchCases,
  sampleCases,
  convertCases,
  awqCases,
  loraCases,
  synthCases,
];

/**
 * Every case of every op. The seed chooses the random shapes.
 *
 * A kernel of your own is tested with the same guards, poison and measures:
 *
 *     const gpu = await openGpu();
 *     const mine = defineKernelCase("double", { n: 100 }, {
 *       step: { units: 100, start: 0 },
 *       bound: { nmse: 0, largest: 0 },
 *       record(program, { random, activation }) {
 *         const xs = random.values(100);
 *         const x = activation("x", { base: 0, unit: 1 }, 1, xs); // one value a unit
 *         const y = program.activation("y", x.rows, 1);
 *         const kernel = { shader: "double", code: WGSL, consts: {}, bindings: "uurw" }; // step, params, x, y
 *         program.dispatch({ kernel, params: [100], buffers: [x.buffer, y.buffer], workgroups: () => [2, 1, 1] });
 *         return [{ label: "y", buffer: y.buffer, kind: "f32", length: 100, expected: () => xs.map((v) => 2 * v) }];
 *       },
 *     });
 *     console.log(await runKernelCase(gpu, mine)); // { status: "passed", nmse: 0, largest: 0 }
 */
export function kernelCases(seed = 1): KernelCase[] {
  const random = new Random(`shapes ${seed}`);
  return FAMILIES.flatMap((family) => family(random));
}
