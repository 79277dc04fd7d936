import { EngineError } from "../../src/errors.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import type { Expectation, KernelCase, PeerSpec } from "../../src/harness/case.ts";
import { operandsOf } from "../../src/harness/operands.ts";
import { Random } from "../../src/harness/random.ts";
import { deviationOf, excessOf } from "../../src/harness/run.ts";
import { quoted } from "../../src/options.ts";
import type { Bindable } from "../../src/tensor/tensor.ts";
import { type BenchCase, benchCases, type Goal } from "./bench-cases.ts";
import { type Ceilings, ceilingContenders, type MeasuredCeilings, measureCeilings } from "./bench-ceilings.ts";
import { type Contender, type Timing, timeInterleaved } from "./bench-timer.ts";

/** How fast a contender was. */
export interface Speed {
  /** Samples; 1 where a run takes so long that there is no second one. */
  n: number;
  /** Of a run, the median over the samples; the fastest and the slowest of them. */
  ms: number;
  minMs: number;
  maxMs: number;
  /** By the median. */
  gflops: number;
  gbps: number;
}

/** A line of the table: one variant of one case. */
export interface BenchResult extends Speed {
  name: string;
  op: string;
  variant: string;
  /** Of `ceiling`. */
  fraction: number;
  /** GFLOP/s or GB/s of what bounds the op (arithmetic for products and prefill attention, else bandwidth), as it was in turns with the case. */
  ceiling: number;
  /** Whether the engine takes this variant by itself, for this shape on this adapter (tuned, where tuning was asked for). */
  chosen: boolean;
}

/** The same case on another library, timed in turns with ours. */
export interface PeerResult extends Speed {
  name: string;
  op: string;
  peer: string;
  /** Its time over that of our fastest variant, by the medians. */
  ratio: number;
}

/** A goal of a case, and what its chosen variant came to. */
export interface GoalResult {
  case: string;
  /** `2 × onnxruntime-node webgpu`, `0.65 × fmaGflops` */
  goal: string;
  least: number;
  /** Whom it is measured against, where it is not a ceiling. */
  peer?: string;
  value: number;
  met: boolean;
}

export interface BenchReport {
  adapter: string;
  ceilings: Ceilings;
  cases: BenchResult[];
  peers?: PeerResult[];
  goals?: GoalResult[];
  /** Choices that were measured, by shape class. */
  tuning?: Record<string, string>;
  /** What did not run or was wrong. */
  problems: string[];
}

/** A case on another library: it answers for its own output, data lie where it computes. */
export interface PeerRun extends Contender {
  /** Everything the case's reference wants to see, f32. */
  output: Float32Array;
  dispose(): Promise<void>;
}

export interface Peer {
  name: string;
  /** Undefined where the library has no such op. @throws Error where it has one but does not run */
  prepare(spec: PeerSpec): Promise<PeerRun | undefined>;
}

export interface BenchOptions {
  /** An op's name, or a word of it: `attention` takes `attention_decode` too. */
  op?: string | undefined;
  /** Part of a case's name. */
  filter?: string | undefined;
  peers?: readonly Peer[];
  /** Only the cases that have goals, each by the variant that the engine takes. */
  goals?: boolean | undefined;
  /** Also the cases that take a CPU adapter many seconds. */
  full?: boolean | undefined;
  onCeilings?: (ceilings: Ceilings) => void;
  onResult?: (result: BenchResult | PeerResult) => void;
  /** What was not timed, and why. */
  onProblem?: (problem: string) => void;
  /** A peer is wrong: it is timed all the same, and what it does is not the engine's fault. */
  onPeerProblem?: (problem: string) => void;
}

const chosenOf = (gpu: Gpu, c: BenchCase): string => c.chosen?.(gpu) ?? c.variants(gpu)[0]!;

function judge(goal: Goal, c: BenchCase, of: BenchResult, rivals: readonly PeerResult[]): GoalResult | undefined {
  const { name } = c.of(undefined);
  if ("ofCeiling" in goal) {
    const { ofCeiling: least } = goal;
    return { case: name, goal: `${least} × ${c.ceiling}`, least, value: of.fraction, met: of.fraction >= least };
  }
  const { over, least } = goal;
  const against = rivals.filter(({ peer }) => peer.includes(over));
  if (against.length === 0) return undefined;
  const best = against.reduce((a, b) => (b.ms < a.ms ? b : a));
  const value = best.ms / of.ms;
  return {
    case: name,
    goal: `${least} × ${over ? best.peer : `the best peer (${best.peer})`}`,
    least,
    peer: best.peer,
    value,
    met: value >= least,
  };
}

/** What a peer's NMSE may be: some quantise the activations too where weights are quantised. */
const peerBound = (spec: PeerSpec): number => (spec.op === "matmul" && spec.w.scales ? 1e-3 : 1e-10);

interface Rival {
  peer: string;
  run: PeerRun;
}

interface Built {
  variant: string;
  test: KernelCase;
  contender: Contender;
}

/** A case whose operands are on the GPU once for all variants: each of them asks for the same ones in the same order. */
class Timed {
  readonly #gpu: Gpu;
  readonly #programs: Programs;
  readonly #operands: Bindable[] = [];
  /** What the variant recorded last has to come to. */
  outputs: readonly Expectation[] = [];

  constructor(gpu: Gpu, programs: Programs) {
    this.#gpu = gpu;
    this.#programs = programs;
  }

  record({ op, step, record }: KernelCase, seed: string): Promise<Program> {
    const { memory } = this.#gpu;
    return this.#programs.record(op, step.units, (program) => {
      let next = 0;
      const place = (label: string, words: number, data: Uint32Array<ArrayBuffer>): Bindable => {
        const known = this.#operands[next++];
        if (known) return known;
        const buffer = memory.create(label, words * 4);
        memory.write(buffer, 0, data);
        this.#operands.push(buffer);
        return buffer;
      };
      this.outputs = record(program, operandsOf(program, new Random(seed), place));
    });
  }

  /** Builds and checks one variant. @throws EngineError bad-input where its output is wrong, and what recording throws */
  async build(test: KernelCase, variant: string, seed: string): Promise<Built> {
    const { memory } = this.#gpu;
    const program = await this.record(test, seed);
    program.run(test.step);
    for (const output of this.outputs) {
      const words = Math.ceil(output.length / (output.kind === "f16" ? 2 : 1));
      const found = new Uint32Array(await memory.read(output.buffer, 0, 4 * words));
      const excess = excessOf(test, output, deviationOf(output, found));
      if (excess) throw new EngineError("bad-input", `its output is wrong: ${excess}`);
    }
    const run = async (iterations: number) => {
      for (let i = 0; i < iterations; i++) program.run(test.step);
      await memory.flush();
    };
    return { variant, test, contender: { run } };
  }
}

/** Each variant of a case that was asked for, built and checked; what is wrong with one is reported. */
async function buildVariants(timed: Timed, c: BenchCase, variants: readonly string[], report: BenchReport, options: BenchOptions) {
  const { name } = c.of(undefined);
  const built: Built[] = [];
  for (const variant of variants) {
    const test = c.of(variant);
    if (!options.goals && !test.name.includes(options.filter ?? "")) continue;
    try {
      built.push(await timed.build(test, variant, name));
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      const problem = `${test.name}: ${error.message}`;
      report.problems.push(problem);
      options.onProblem?.(problem);
    }
  }
  return built;
}

/** Puts the same case on each peer that has its op into `rivals`; a peer whose output is wrong is reported and stays. */
async function addRivals(rivals: Rival[], output: Expectation | undefined, name: string, report: BenchReport, options: BenchOptions) {
  for (const peer of options.peers ?? []) {
    try {
      const run = output?.peer && (await peer.prepare(output.peer));
      if (!run) continue;
      rivals.push({ peer: peer.name, run });
      const { nmse } = deviationOf(output, new Uint32Array(Float32Array.from(run.output).buffer));
      if (nmse > peerBound(output.peer!)) throw new Error(`its output is wrong: NMSE ${nmse.toExponential(1)}`);
    } catch (error) {
      const problem = `${name} on ${peer.name}: ${String((error as Error).message).split("\n")[0]}`;
      report.problems.push(problem);
      options.onPeerProblem?.(problem);
    }
  }
}

const speedOf = ({ flops, bytes }: BenchCase, { n, min, median: ms, max }: Timing): Speed => ({
  ...{ n, ms, minMs: min, maxMs: max },
  gflops: flops / ms / 1e6,
  gbps: bytes / ms / 1e6,
});

/** Times the variants of a case, its rivals and the ceiling in turns, and adds what comes of it to the report. */
async function benchCase(gpu: Gpu, c: BenchCase, measured: MeasuredCeilings, report: BenchReport, options: BenchOptions): Promise<void> {
  const timed = new Timed(gpu, new Programs(gpu));
  const own = c.of(undefined);
  const { name, op } = own;
  const rivals: Rival[] = [];
  try {
    // As the engine would: where the device tunes, it measures now which variant it takes.
    if (gpu.tuning.enabled) await timed.record(own, name);
    const chosen = chosenOf(gpu, c);
    const built = await buildVariants(timed, c, options.goals ? [chosen] : c.variants(gpu), report, options);
    await addRivals(rivals, timed.outputs[0], name, report, options);
    const limits = await ceilingContenders(gpu, measured, c.ceiling, c.bytes);
    const contenders = [...built.map(({ contender }) => contender), ...rivals.map(({ run }) => run)];
    const times = await timeInterleaved(contenders, undefined, limits);
    const ceiling = Math.max(...limits.map(({ work }, i) => work / times[contenders.length + i]!.median / 1e6));
    const ours = built.map(({ variant, test }, i): BenchResult => {
      const speed = speedOf(c, times[i]!);
      const fraction = (c.ceiling === "fmaGflops" ? speed.gflops : speed.gbps) / ceiling;
      return { name: test.name, op, variant, ...speed, fraction, ceiling, chosen: variant === chosen };
    });
    const best = Math.min(...ours.map(({ ms }) => ms));
    const theirs = rivals.map(({ peer }, i): PeerResult => {
      const speed = speedOf(c, times[built.length + i]!);
      return { name, op, peer, ...speed, ratio: speed.ms / best };
    });
    report.cases.push(...ours);
    report.peers?.push(...theirs);
    for (const result of [...ours, ...theirs]) options.onResult?.(result);
    const taken = ours.find((result) => result.chosen);
    for (const goal of (taken && c.goals) ?? []) {
      const judged = judge(goal, c, taken!, theirs);
      if (judged) report.goals?.push(judged);
    }
  } finally {
    for (const { run } of rivals) await run.dispose();
  }
}

/** Whether an op is what `--op` names: the name, or a word of it. */
export const isOp = (op: string, asked: string | undefined): boolean => !asked || op === asked || op.split("_").includes(asked);

/**
 * Measures the adapter's ceilings, then every case that `op` and `filter` leave: first its output against a float64 reference,
 * then its time, the ceiling, the variants and the peers of a case taking turns (A B B A). What is wrong or does not run is reported and
 * not timed; a peer whose output is wrong is reported and timed all the same.
 */
export async function runBench(gpu: Gpu, options: BenchOptions = {}): Promise<BenchReport> {
  const { op, filter = "" } = options;
  const cases = benchCases().filter(
    (c) =>
      isOp(c.of(undefined).op, op) &&
      (!options.goals || (c.goals ?? []).length > 0) &&
      (options.full || !c.full) &&
      c.variants(gpu).some((variant) => c.of(variant).name.includes(filter)),
  );
  if (cases.length === 0) {
    throw new EngineError(
      "bad-input",
      `no benchmark case has ${[op && `the op ${quoted(op)}`, filter && `${quoted(filter)} in its name`].filter(Boolean).join(" and ")}`,
      { hint: `the ops are ${[...new Set(benchCases().map((c) => c.of(undefined).op))].join(", ")}` },
    );
  }
  const measured = await measureCeilings(gpu);
  const { ceilings } = measured;
  options.onCeilings?.(ceilings);
  const report: BenchReport = {
    adapter: gpu.adapterName,
    ceilings,
    cases: [],
    ...(options.peers && { peers: [] }),
    ...(options.goals && { goals: [] }),
    problems: [],
  };
  for (const c of cases) await gpu.memory.temporarily(() => benchCase(gpu, c, measured, report, options));
  if (gpu.tuning.enabled) report.tuning = gpu.tuning.toJSON();
  return report;
}
