import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { EngineError, throwIfAborted } from "../../src/errors.ts";
import { openGpu } from "../../src/gpu/device.ts";
import { type BenchReport, type BenchResult, type GoalResult, type PeerResult, runBench } from "../kernels/bench.ts";
import { type BenchCase, benchCases } from "../kernels/bench-cases.ts";
import { jaxPeer } from "../kernels/jax.ts";
import { ortPeer } from "../kernels/ort.ts";
import { type RunInfo, toMarkdown } from "../kernels/results.ts";
import { interrupted } from "./interrupt.ts";
import { checkPrefix, writeReport } from "./output.ts";

export type Library = "ort" | "jax";

interface Flags {
  op?: string;
  filter?: string;
  adapter?: string;
  vs?: Library[];
  goals?: boolean;
  full?: boolean;
  autotune?: boolean;
  out?: string;
  json?: boolean;
}

const HEADER = `${"ms".padStart(10)}${"min".padStart(10)}${"max".padStart(10)}${"n".padStart(3)}${"GFLOP/s".padStart(10)}${"GB/s".padStart(9)}${"ceiling".padStart(9)}  case`;

function line(result: BenchResult | PeerResult): string {
  const share = "fraction" in result ? `${(100 * result.fraction).toFixed(1)} %` : `×${result.ratio.toFixed(2)}`;
  const { n, ms, minMs, maxMs, gflops, gbps } = result;
  const times = [ms, minMs, maxMs].map((value) => value.toFixed(3).padStart(10)).join("") + String(n).padStart(3);
  const numbers = times + gflops.toFixed(1).padStart(10) + gbps.toFixed(2).padStart(9);
  const note = "peer" in result ? ` on ${result.peer}` : result.chosen ? " (chosen)" : "";
  return `${numbers}${share.padStart(9)}  ${result.name}${note}`;
}

/** The report as a file for people and one for programs, with what one has to know to repeat it. */
async function writeResults(prefix: string, report: BenchReport, seconds: number): Promise<void> {
  const info: RunInfo = {
    date: new Date().toISOString(),
    command: `internvl ${process.argv.slice(2).join(" ")}`,
    seconds: Math.round(seconds),
  };
  await writeReport(prefix, `${JSON.stringify({ ...info, ...report }, undefined, 1)}\n`, toMarkdown(report, info));
}

const JAX_OPS = ["matmul", "matvec"]; // what jax-js has as one kernel

const ATTEMPTS = 3;

/** What a process of its own prints of an op's goals. A signal that ends it early is a peer's crash (ONNX Runtime's, seen now and then): again. */
async function goalsOf(op: string, args: readonly string[]): Promise<{ stdout: string; failed: boolean }> {
  for (let attempt = 1; ; attempt++) {
    const child = spawn(process.execPath, [process.argv[1]!, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise<{ status: number | null; signal: string | null }>((resolve, reject) =>
      child.once("error", reject).once("close", (status, signal) => resolve({ status, signal })),
    );
    const [stdout, { status, signal }] = [await text(child.stdout), await ended];
    throwIfAborted(interrupted); // Ctrl-C has ended it, too
    if (stdout) return { stdout, failed: Boolean(status) };
    const how = `the goals of ${op} did not come to an end (${signal ?? `exit code ${status}`})`;
    if (!signal || attempt === ATTEMPTS) throw new EngineError("bad-input", how, { hint: "leave out --vs, or one of its libraries" });
    process.stderr.write(`internvl: ${how}, again\n`);
  }
}

/**
 * The goals of all ops, each op beside each library in a process of its own: two libraries with a Dawn each next to ours do not end well in one
 * (Node dies of SIGSEGV or SIGFPE when ONNX Runtime has run beside jax-js). Ceilings are measured in each, and the report has the highest.
 * Our own time is measured anew in each, in turns with that library; the goals against ceilings are judged in the first.
 */
async function allGoals(flags: Flags): Promise<void> {
  const began = performance.now();
  const whole: BenchReport = {
    adapter: "",
    ceilings: { fmaGflops: 0, streamGBps: 0, copyGBps: 0 },
    cases: [],
    peers: [],
    goals: [],
    problems: [],
  };
  const wanted = ({ of, full, goals = [] }: BenchCase) =>
    goals.length > 0 && (flags.full || !full) && of(undefined).name.includes(flags.filter ?? "");
  const ops = new Set(benchCases().flatMap((c) => (wanted(c) ? [c.of(undefined).op] : [])));
  if (ops.size === 0)
    throw new EngineError("bad-input", `no case with a goal has ${JSON.stringify(flags.filter)} in its name`, {
      hint: "leave --filter out to see what there is",
    });
  const sittings = [...ops].flatMap((op) => {
    const libraries = (flags.vs ?? []).filter((library) => library !== "jax" || JAX_OPS.includes(op));
    return (libraries.length ? libraries : [undefined]).map((library, i) => ({ op, library, isFirst: i === 0 }));
  });
  for (const { op, library, isFirst } of sittings) {
    const args = ["kernels", "bench", "--goals", "--json", "--op", op, ...(library ? ["--vs", library] : [])];
    if (flags.filter) args.push("--filter", flags.filter);
    if (flags.adapter) args.push("--adapter", flags.adapter);
    if (flags.autotune) args.push("--autotune");
    if (flags.full) args.push("--full");
    const { stdout, failed } = await goalsOf(op, args);
    const { adapter, ceilings, cases, peers = [], goals: all = [], tuning, problems } = JSON.parse(stdout) as BenchReport;
    const goals = isFirst ? all : all.filter(({ peer }) => peer);
    for (const name of ["fmaGflops", "streamGBps", "copyGBps"] as const) {
      whole.ceilings[name] = Math.max(whole.ceilings[name], ceilings[name]);
    }
    whole.adapter = adapter;
    whole.cases.push(...cases);
    whole.peers?.push(...peers);
    whole.goals?.push(...goals);
    if (tuning) whole.tuning = { ...whole.tuning, ...tuning };
    whole.problems.push(...problems);
    if (failed) process.exitCode = 1;
    if (!flags.json) tellGoals(goals);
  }
  if (flags.json) process.stdout.write(`${JSON.stringify(whole)}\n`);
  if (flags.out) await writeResults(flags.out, whole, (performance.now() - began) / 1000);
}

function tellGoals(goals: readonly GoalResult[]): void {
  for (const { case: name, goal, value, met } of goals)
    process.stdout.write(`${met ? "met   " : "MISSED"}  ${value.toFixed(2)} of ${goal}: ${name}\n`);
}

export async function kernelsBench(flags: Flags): Promise<void> {
  await checkPrefix(flags.out);
  if (flags.goals && !flags.op) return allGoals(flags);
  const began = performance.now();
  const gpu = await openGpu({ adapter: flags.adapter, autotune: flags.autotune ?? false });
  try {
    const peers = await Promise.all((flags.vs ?? []).map((library) => (library === "ort" ? ortPeer() : jaxPeer(gpu.adapterName))));
    let started = false;
    const tell = (problem: string) => void process.stderr.write(`internvl: ${problem}\n`);
    const report = await runBench(gpu, {
      op: flags.op,
      filter: flags.filter,
      goals: flags.goals,
      full: flags.full,
      ...(peers.length ? { peers } : {}),
      onCeilings({ fmaGflops, streamGBps, copyGBps }) {
        if (flags.json) return;
        process.stdout.write(
          `${gpu.adapterName}: fma ${fmaGflops.toFixed(1)} GFLOP/s, stream ${streamGBps.toFixed(2)} GB/s, copy ${copyGBps.toFixed(2)} GB/s\n`,
        );
      },
      onResult(result) {
        throwIfAborted(interrupted);
        if (flags.json) return;
        if (!started) process.stdout.write(`${HEADER}\n`);
        started = true;
        process.stdout.write(`${line(result)}\n`);
      },
      onProblem(problem) {
        tell(problem);
        process.exitCode = 1;
      },
      onPeerProblem: tell,
    });
    if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    else tellGoals(report.goals ?? []);
    if (flags.out) await writeResults(flags.out, report, (performance.now() - began) / 1000);
  } finally {
    gpu.close();
  }
}
