import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { openGpu } from "../../src/gpu/device.ts";
import { type BenchReport, type BenchResult, type PeerResult, runBench } from "../../src/harness/bench.ts";
import { jaxPeer } from "../kernels/jax.ts";
import { ortPeer } from "../kernels/ort.ts";
import { type RunInfo, toMarkdown } from "../kernels/results.ts";

export type Library = "ort" | "jax";

interface Flags {
  op?: string;
  filter?: string;
  adapter?: string;
  vs?: Library[];
  goals?: boolean;
  autotune?: boolean;
  out?: string;
  json?: boolean;
}

const HEADER = `${"ms".padStart(10)}${"GFLOP/s".padStart(10)}${"GB/s".padStart(9)}${"ceiling".padStart(9)}  case`;

function line(result: BenchResult | PeerResult): string {
  const share = "fraction" in result ? `${(100 * result.fraction).toFixed(1)} %` : `×${result.ratio.toFixed(2)}`;
  const numbers = result.ms.toFixed(3).padStart(10) + result.gflops.toFixed(1).padStart(10) + result.gbps.toFixed(2).padStart(9);
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
  await mkdir(dirname(prefix), { recursive: true });
  await writeFile(`${prefix}.json`, `${JSON.stringify({ ...info, ...report }, undefined, 1)}\n`);
  await writeFile(`${prefix}.md`, toMarkdown(report, info));
}

export async function kernelsBench(flags: Flags): Promise<void> {
  const began = performance.now();
  const gpu = await openGpu({ adapter: flags.adapter, autotune: flags.autotune });
  try {
    const peers = await Promise.all((flags.vs ?? []).map((library) => (library === "ort" ? ortPeer() : jaxPeer(gpu.adapterName))));
    let started = false;
    const tell = (problem: string) => void process.stderr.write(`internvl: ${problem}\n`);
    const report = await runBench(gpu, {
      op: flags.op,
      filter: flags.filter,
      goals: flags.goals,
      ...(peers.length ? { peers } : {}),
      onCeilings({ fmaGflops, streamGBps, copyGBps }) {
        if (flags.json) return;
        process.stdout.write(
          `${gpu.adapterName}: fma ${fmaGflops.toFixed(1)} GFLOP/s, stream ${streamGBps.toFixed(2)} GB/s, copy ${copyGBps.toFixed(2)} GB/s\n`,
        );
      },
      onResult(result) {
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
    else
      for (const { case: name, goal, value, met } of report.goals ?? [])
        process.stdout.write(`${met ? "met   " : "MISSED"}  ${value.toFixed(2)} of ${goal}: ${name}\n`);
    if (flags.out) await writeResults(flags.out, report, (performance.now() - began) / 1000);
  } finally {
    gpu.close();
  }
}
