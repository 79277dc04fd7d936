import { EngineError } from "../../src/errors.ts";
import type { Scheduler } from "../../src/generate/scheduler.ts";
import type { Model } from "../../src/model/internvl.ts";
import { GpuWeights } from "../../src/weights/gpu-weights.ts";
import type { TensorSource } from "../../src/weights/tensor-source.ts";
import { median } from "../kernels/bench-timer.ts";
import { type Generated, ortDecoder } from "../kernels/ort-decoder.ts";
import { decode } from "./bench-decode.ts";

const ROUNDS = 4; // there and back: 8 samples

/** Another library's decoding, timed in turns with ours. */
export interface PeerRate {
  peer: string;
  tokensPerSecond: number;
  /** Our tokens a second over its own. */
  ratio: number;
  /** How many of the `ids` are ours, from the first one on. */
  sameIds: number;
  ids: number;
}

export interface Versus {
  prompt: number;
  tokensPerSecond: number;
  peers: PeerRate[];
  /** What did not run. */
  problems: string[];
}

interface Contest {
  prompt: readonly number[];
  steps: number;
  signal: AbortSignal;
}

const WAYS = [
  { form: "GroupQueryAttention", idOn: "cpu" },
  { form: "GroupQueryAttention", idOn: "gpu" },
  { form: "plain ops", idOn: "gpu" },
] as const;

/** How many ids are equal, from the first one on. */
function sameIds(ours: readonly number[], theirs: readonly number[]): number {
  const at = ours.findIndex((id, i) => id !== theirs[i]);
  return at < 0 ? ours.length : at;
}

/**
 * Our greedy decoding behind a prompt against ONNX Runtime's with the same weights in f32, in turns (A B C, C B A, …), medians. A peer
 * whose ids are not ours is reported, and timed all the same.
 *
 * @throws EngineError as `qwen2Onnx`, or aborted
 */
export async function versusOrt(
  model: Model,
  scheduler: Scheduler,
  origin: TensorSource,
  { prompt, steps, signal }: Contest,
): Promise<Versus> {
  const weights = GpuWeights.of(model.gpu, origin, { format: "auto", signal, onBytes: () => {} }).at("language_model");
  const own = () => decode(model, scheduler, prompt, steps, signal);
  const { ids } = await own();
  const entries = [{ name: "ours", run: own as () => Promise<Generated>, same: ids.length, samples: [] as number[] }];
  const problems: string[] = [];
  for (const way of WAYS) {
    const name = `onnxruntime-node webgpu, ${way.form}, ids ${way.idOn === "gpu" ? "on the GPU" : "through the CPU"}`;
    try {
      const peer = await ortDecoder(weights, model.config.language, { positions: prompt.length + steps + 1, ...way });
      const run = () => peer(prompt, steps);
      entries.push({ name, run, same: sameIds(ids, (await run()).ids), samples: [] });
    } catch (error) {
      if (error instanceof EngineError) throw error;
      problems.push(`${name} does not run: ${String((error as Error).message).split("\n")[0]}`);
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const order of [entries, [...entries].reverse()]) {
      for (const { run, samples } of order) {
        signal.throwIfAborted();
        samples.push((await run()).seconds);
      }
    }
  }
  const [tokensPerSecond, ...rates] = entries.map(({ samples }) => steps / median(samples));
  return {
    prompt: prompt.length,
    tokensPerSecond: tokensPerSecond!,
    peers: entries.slice(1).map(({ name, same }, i) => ({
      peer: name,
      tokensPerSecond: rates[i]!,
      ratio: tokensPerSecond! / rates[i]!,
      sameIds: same,
      ids: ids.length,
    })),
    problems,
  };
}

/** Lines of the report. */
export function describeVersus({ prompt, tokensPerSecond, peers, problems }: Versus): string[] {
  const ids = ({ sameIds, ids: all }: PeerRate) =>
    sameIds === all ? `the same ${all} ids` : `ITS IDS DIFFER from the ${sameIds + 1}th on`;
  return [
    `         in turns with others, ${prompt} tokens of prompt: ${tokensPerSecond.toFixed(2)} tokens/s`,
    ...peers.map(
      (p) => `         ${p.tokensPerSecond.toFixed(2)} tokens/s, ours is ${p.ratio.toFixed(2)} times as fast: ${p.peer}; ${ids(p)}`,
    ),
    ...problems.map((problem) => `         ${problem}`),
  ];
}
