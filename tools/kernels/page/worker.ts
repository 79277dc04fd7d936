import { encodeError } from "../../../src/api/worker-protocol.ts";
import { EngineError } from "../../../src/errors.ts";
import { type Gpu, openGpu } from "../../../src/gpu/device.ts";
import { runCases } from "../../../src/harness/report.ts";
import { runBench } from "../bench.ts";
import { casesOf } from "./cases.ts";
import type { Message, Request } from "./protocol.ts";

// The references are float64 loops on the CPU: in the page they would hold up every click.

const send = (message: Message): void => self.postMessage(message);

async function test(gpu: Gpu, request: Request): Promise<void> {
  const cases = casesOf(request);
  if (typeof cases === "string") throw new EngineError("bad-input", cases);
  let before = 0;
  for (const op of new Set(cases.map((each) => each.op))) {
    const own = cases.filter((each) => each.op === op);
    const each = ({ name }: { name: string }, done: number) => send({ type: "case", name, done: before + done, total: cases.length });
    send({ type: "report", report: await runCases(gpu, own, { seed: request.seed, each }) });
    before += own.length;
  }
  send({ type: "done" });
}

async function bench(gpu: Gpu, { op, filter }: Request): Promise<void> {
  const report = await runBench(gpu, {
    op,
    filter,
    onCeilings: (ceilings) => send({ type: "ceilings", ceilings }),
    onResult: (result) => {
      if ("fraction" in result) send({ type: "result", result });
    },
    onProblem: (problem) => send({ type: "problem", problem }),
  });
  send({ type: "done", bench: report });
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    const gpu = await openGpu({ autotune: false });
    send({ type: "adapter", adapter: gpu.adapterName });
    await (data.kind === "test" ? test : bench)(gpu, data);
    gpu.close();
  } catch (error) {
    send({ type: "error", error: encodeError(error) });
  }
};
