import { openGpu } from "../../src/gpu/device.ts";
import { type BenchResult, type PeerResult, runBench } from "../../src/harness/bench.ts";
import { ortPeer } from "../kernels/ort.ts";

interface Flags {
  op?: string;
  filter?: string;
  adapter?: string;
  vs?: "ort";
  json?: boolean;
}

const HEADER = `${"ms".padStart(10)}${"GFLOP/s".padStart(10)}${"GB/s".padStart(9)}${"ceiling".padStart(9)}  case`;

function line(result: BenchResult | PeerResult): string {
  const share = "fraction" in result ? `${(100 * result.fraction).toFixed(1)} %` : `×${result.ratio.toFixed(2)}`;
  const numbers = result.ms.toFixed(3).padStart(10) + result.gflops.toFixed(1).padStart(10) + result.gbps.toFixed(2).padStart(9);
  return `${numbers}${share.padStart(9)}  ${result.name}${"peer" in result ? ` on ${result.peer}` : ""}`;
}

export async function kernelsBench(flags: Flags): Promise<void> {
  const peers = flags.vs === "ort" ? [ortPeer()] : undefined;
  const gpu = await openGpu({ adapter: flags.adapter });
  try {
    let started = false;
    const report = await runBench(gpu, {
      op: flags.op,
      filter: flags.filter,
      peers,
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
        process.stderr.write(`internvl: ${problem}\n`);
        process.exitCode = 1;
      },
    });
    if (flags.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  } finally {
    gpu.close();
  }
}
