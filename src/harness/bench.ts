import { EngineError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { Programs } from "../gpu/program.ts";
import type { BenchCase, Goal, PeerSpec, PreparedCase } from "./bench-case.ts";
import { benchCases } from "./bench-cases.ts";
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
  const name = `${c.op}(${c.params})`;
  if ("ofCeiling" in goal) {
    const { ofCeiling: least } = goal;
    return { case: name, goal: `${least} × ${c.ceiling}`, least, value: of.fraction, met: of.fraction >= least };
  }
  const { over, least } = goal;
  const against = rivals.filter(({ peer }) => peer.includes(over));
  if (against.length === 0) return undefined;
  const best = against.reduce((a, b) => (b.ms < a.ms ? b : a));
  const value = best.ms / of.ms;
  return { case: name, goal: `${least} × ${over ? best.peer : `the best peer (${best.peer})`}`, least, value, met: value >= least };
}

const caseName = (c: BenchCase, variant: string): string => `${c.op}(${c.params},variant=${variant})`;

/** Largest normalised mean square error of the samples: float32 sums of up to 11008 products stay below 1e-11. */
const BOUNDS: Readonly<Record<BenchCase["accuracy"], number>> = { f32: 1e-10, quantized: 1e-3, exact: 0 };

function problemOf(c: BenchCase, nmse: number): string | undefined {
  const bound = BOUNDS[c.accuracy];
  return nmse <= bound ? undefined : `its output is wrong: NMSE ${nmse.toExponential(1)}, allowed ${bound}`;
}

interface Built {
  variant: string;
  contender: Contender;
}

/** Records, builds and checks one variant. */
async function buildVariant(gpu: Gpu, programs: Programs, c: BenchCase, prepared: PreparedCase, variant: string): Promise<Built> {
  let output: ReturnType<PreparedCase["record"]> | undefined;
  const program = await programs.record(c.op, prepared.step.units, (p) => {
    output = prepared.record(p, variant);
  });
  program.run(prepared.step);
  const data = await gpu.memory.read(output!.buffer, 0, output!.bytes);
  const problem = problemOf(c, prepared.nmse(data));
  if (problem) throw new EngineError("bad-input", problem);
  const run = async (iterations: number) => {
    for (let i = 0; i < iterations; i++) program.run(prepared.step);
    await gpu.memory.flush();
  };
  return { variant, contender: { run } };
}

async function benchCase(gpu: Gpu, c: BenchCase, measured: MeasuredCeilings, report: BenchReport, options: BenchOptions): Promise<void> {
  const programs = new Programs(gpu);
  const built: Built[] = [];
  const rivals: { peer: string; run: PeerRun }[] = [];
  try {
    const prepared = c.prepare(gpu);
    // As the engine would: where the device tunes, it measures now which variant it takes.
    if (gpu.tuning.enabled) await programs.record(c.op, prepared.step.units, (p) => void prepared.record(p, undefined));
    const chosen = chosenOf(gpu, c);
    const variants = options.goals ? [chosen] : c.variants(gpu).filter((variant) => caseName(c, variant).includes(options.filter ?? ""));
    for (const variant of variants) {
      try {
        built.push(await buildVariant(gpu, programs, c, prepared, variant));
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        const problem = `${caseName(c, variant)}: ${error.message}`;
        report.problems.push(problem);
        options.onProblem?.(problem);
      }
    }
    for (const peer of options.peers ?? []) {
      try {
        const run = prepared.spec && (await peer.prepare(prepared.spec));
        if (!run) continue;
        rivals.push({ peer: peer.name, run });
        const problem = problemOf(c, prepared.nmse(run.output.buffer as ArrayBuffer));
        if (problem) throw new Error(problem);
      } catch (error) {
        const problem = `${c.op}(${c.params}) on ${peer.name}: ${String((error as Error).message).split("\n")[0]}`;
        report.problems.push(problem);
        options.onPeerProblem?.(problem);
      }
    }
    const limits = await ceilingContenders(gpu, measured, c.ceiling, c.bytes);
    const contenders = [...built.map(({ contender }) => contender), ...rivals.map(({ run }) => run)];
    const times = await timeInterleaved(contenders, undefined, limits);
    const ceiling = Math.max(...limits.map(({ work }, i) => work / times[contenders.length + i]!.median / 1e6));
    let own: BenchResult | undefined;
    const speeds = ({ n, min, median: ms, max }: Timing): Speed => ({
      ...{ n, ms, minMs: min, maxMs: max },
      gflops: c.flops / ms / 1e6,
      gbps: c.bytes / ms / 1e6,
    });
    for (const [i, { variant }] of built.entries()) {
      const speed = speeds(times[i]!);
      const fraction = (c.ceiling === "fmaGflops" ? speed.gflops : speed.gbps) / ceiling;
      const result = { name: caseName(c, variant), op: c.op, variant, ...speed, fraction, ceiling, chosen: variant === chosen };
      report.cases.push(result);
      if (result.chosen) own = result;
      options.onResult?.(result);
    }
    const best = Math.min(...times.slice(0, built.length).map(({ median }) => median));
    const results: PeerResult[] = [];
    for (const [i, { peer }] of rivals.entries()) {
      const speed = speeds(times[built.length + i]!);
      const result = { name: `${c.op}(${c.params})`, op: c.op, peer, ...speed, ratio: speed.ms / best };
      report.peers?.push(result);
      results.push(result);
      options.onResult?.(result);
    }
    for (const goal of (own && c.goals) ?? []) {
      const judged = judge(goal, c, own!, results);
      if (judged) report.goals?.push(judged);
    }
  } finally {
    for (const { run } of rivals) await run.dispose();
  }
}

/**
 * Measures the adapter's ceilings, then every case that `op` and `filter` leave: first its output against a float64 reference,
 * then its time, the ceiling, the variants and the peers of a case taking turns (A B B A). What is wrong or does not run is reported and
 * not timed; a peer whose output is wrong is reported and timed all the same.
 */
export async function runBench(gpu: Gpu, options: BenchOptions = {}): Promise<BenchReport> {
  const { op, filter = "" } = options;
  const cases = benchCases().filter(
    (c) =>
      (!op || c.op === op || c.op.split("_").includes(op)) &&
      (!options.goals || (c.goals ?? []).length > 0) &&
      (options.full || !c.full) &&
      c.variants(gpu).some((variant) => caseName(c, variant).includes(filter)),
  );
  if (cases.length === 0) {
    throw new EngineError(
      "bad-input",
      `no benchmark case has ${op ? `the op ${JSON.stringify(op)}` : "any op"} and ${JSON.stringify(filter)} in its name`,
      {
        hint: `the ops are ${[...new Set(benchCases().map((c) => c.op))].join(", ")}`,
      },
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
