import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Program, STEP_BYTES } from "../gpu/program.ts";
import { widenF16 } from "../tensor/tensor.ts";
import { boundOf, type Deviation, deviation, EXACT, INFINITELY_FAR } from "./bounds.ts";
import type { Expectation, KernelCase } from "./case.ts";
import { type Found, GuardedScratch, POISON } from "./guard.ts";
import { operandsOf } from "./operands.ts";
import { Random } from "./random.ts";

/** What became of a case. */
export type Outcome =
  | ({ status: "passed" } & Deviation)
  | ({ status: "failed"; reason: string } & Deviation)
  | { status: "unsupported"; reason: string };

/** What is wrong with an output besides its values: elements that were not written, or none that should be; NaN and Inf. */
function flawOf({ label, kind, length: elements }: Expectation, { found, content, words }: Found): string | undefined {
  const values = new Float32Array(found.buffer, found.byteOffset, found.length);
  const length = kind === "f16" ? elements / 2 : elements;
  for (let i = 0; i < length; i++) {
    if (found[i] === POISON) return `${label}: element ${i} of ${length} is not written`;
    if (kind === "f32" && !Number.isFinite(values[i]!)) return `${label}: element ${i} of ${length} is ${values[i]}`;
  }
  for (let i = length; i < words; i++) {
    if (found[i] !== (content ? content[i] : POISON)) return `${label}: element ${i}, past the ${length} of this step, is written`;
  }
  return undefined;
}

/** How far the words of an output are off. */
export function deviationOf({ kind, length, indices, expected, unit, energies }: Expectation, found: Uint32Array<ArrayBuffer>): Deviation {
  const whole = {
    u32: () => found,
    f32: () => new Float32Array(found.buffer, found.byteOffset, found.length),
    f16: () => widenF16(new Uint16Array(found.buffer, found.byteOffset, 2 * found.length)),
  }
    [kind]()
    .subarray(0, length);
  const [own, right] = [indices ? Float64Array.from(indices, (i) => whole[i]!) : whole, expected()];
  if (!unit) return deviation(own, right, energies);
  const scaled = (values: ArrayLike<number>) => Float64Array.from(values, (value, i) => value / unit(indices?.[i] ?? i));
  return deviation(scaled(own), scaled(right));
}

/** Says so where an output is off by more than the case's bound allows. */
export function excessOf(
  { op, params, bound = boundOf(op, params.outliers ? "outliers" : undefined) }: KernelCase,
  output: Expectation,
  found: Deviation,
) {
  const allowed = output.kind === "u32" ? EXACT : bound; // ids, codes and bits are right or wrong
  if (found.nmse <= allowed.nmse && found.largest <= allowed.largest) return undefined;
  const [nmse, largest] = [found.nmse, found.largest].map((value) => value.toExponential(2));
  return `${output.label}: NMSE ${nmse} (bound ${allowed.nmse}), largest error ${largest} (bound ${allowed.largest})`;
}

/** Whether an operand is as it was. */
function changed({ found, content }: Found): boolean {
  if (content) for (let i = 0; i < content.length; i++) if (found[i] !== content[i]) return true;
  return false;
}

function judge(test: KernelCase, outputs: readonly Expectation[], tensors: ReadonlyMap<unknown, Found>): Outcome {
  let worst: Deviation = { nmse: 0, largest: 0 };
  const failed = (reason: string): Outcome => ({ status: "failed", reason, ...worst });
  for (const output of outputs) {
    const tensor = tensors.get(output.buffer);
    if (!tensor) throw new Error(`${test.name}: ${output.label} is not storage of this case`);
    const flaw = flawOf(output, tensor);
    if (flaw) return { status: "failed", reason: flaw, ...INFINITELY_FAR };
    const found = deviationOf(output, tensor.found);
    worst = { nmse: Math.max(worst.nmse, found.nmse), largest: Math.max(worst.largest, found.largest) };
    const excess = excessOf(test, output, found);
    if (excess) return failed(excess);
  }
  const written = new Set<unknown>(outputs.map(({ buffer }) => buffer));
  for (const tensor of tensors.values()) {
    if (tensor.damage) return failed(`${tensor.label}: the guard ${tensor.damage} it is written to`);
    if (!written.has(tensor.binding) && changed(tensor)) return failed(`${tensor.label}: an operand is changed`);
  }
  return { status: "passed", ...worst };
}

/**
 * Runs a case on a device: operands, one replay, guards, comparison. The same seed gives the same operands.
 *
 * Passed: all outputs within their bounds, written everywhere and nowhere else. Unsupported: the device lacks a feature, or an operand is
 * over one of its limits. Everything else that a kernel does is a failure, and none of it is thrown.
 *
 * @throws EngineError device-lost
 * @throws Error where the case itself is at fault (its reference is not finite, no bound is stated)
 *
 * @example
 * ```ts
 * const { status } = await runKernelCase(await openGpu(), kernelCases()[0]);
 * ```
 */
export async function runCase(gpu: Gpu, test: KernelCase, seed = 1): Promise<Outcome> {
  const lacks = test.unsupported?.(gpu);
  if (lacks) return { status: "unsupported", reason: lacks };
  const scratch = new GuardedScratch(gpu);
  const step = gpu.memory.create("step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  const program = new Program(gpu, test.name, test.maxUnits ?? test.step.units, scratch, step);
  let recorded = false;
  try {
    const outputs = await gpu.memory.scoped(test.name, async () => {
      const expectations = test.record(program, operandsOf(program, new Random(`${seed} ${test.name}`), scratch.place.bind(scratch)));
      recorded = true;
      await program.build();
      program.run(test.step);
      return expectations;
    });
    return judge(test, outputs, await scratch.read());
  } catch (error) {
    if (!(error instanceof EngineError) || error.code === "device-lost") throw error;
    // Ops say while they are recorded what the adapter does not allow; what comes to light later is a fault of the op.
    if (error.code === "limit-exceeded" && !recorded) return { status: "unsupported", reason: error.message };
    return { status: "failed", reason: `${error.code}: ${error.message}`, ...INFINITELY_FAR };
  } finally {
    program.dispose();
    scratch.dispose();
    gpu.memory.destroy(step);
  }
}
