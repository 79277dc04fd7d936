import { readdirSync, readFileSync } from "node:fs";
import { loadModel } from "../../src/api/model-load.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";
import { syntheticTensors } from "../synthetic/source.ts";

/** What a decoded token costs the CPU where the GPU takes no time at all. */
export interface TokenCost {
  model: string;
  dispatches: number;
  /** Milliseconds of CPU time: of the main thread, and of all threads. */
  mainMs: number;
  allMs: number;
}

const CONTEXT = 1024;
const WARM = 100; // tokens
const TOKENS = 200; // a round
const ROUNDS = 5;
const IN_FLIGHT = 8;

/** CPU time so far, in ns, as Linux counts it: what else runs on the machine is not in it. */
function cpuTime(): { main: number; all: number } {
  let [main, all] = [0, 0];
  for (const thread of readdirSync("/proc/self/task")) {
    const ns = Number(readFileSync(`/proc/self/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    all += ns;
    if (Number(thread) === process.pid) main = ns;
  }
  return { main, all };
}

/** Decodes one slot's tokens, the model's own loop without its ids; the least of some rounds. */
export async function measureToken(gpu: Gpu, model: string, config: ModelConfig, format: MatrixDtype): Promise<TokenCost> {
  const origin = syntheticTensors(gpu, checkpointTensors(config), 0);
  return gpu.memory.temporarily(async () => {
    const { decoder } = (await loadModel(gpu, () => origin, config, { format, maxContext: CONTEXT, kv: "f16" })).model;
    const run = async (tokens: number) => {
      for (let i = 0; i < tokens; i++) {
        decoder.decode([200 + (i % 500)]);
        if (i % IN_FLIGHT === IN_FLIGHT - 1) await gpu.memory.flush();
      }
      await gpu.memory.flush();
    };
    await run(WARM);
    const cost = { model, dispatches: 0, mainMs: Number.POSITIVE_INFINITY, allMs: Number.POSITIVE_INFINITY };
    for (let round = 0; round < ROUNDS; round++) {
      const dispatches = gpu.counters.dispatches;
      const began = cpuTime();
      await run(TOKENS);
      const ended = cpuTime();
      cost.dispatches = (gpu.counters.dispatches - dispatches) / TOKENS;
      cost.mainMs = Math.min(cost.mainMs, (ended.main - began.main) / TOKENS / 1e6);
      cost.allMs = Math.min(cost.allMs, (ended.all - began.all) / TOKENS / 1e6);
    }
    return cost;
  });
}
