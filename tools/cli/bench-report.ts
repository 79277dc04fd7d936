import type { Choice, Precision } from "../../src/gpu/program.ts";
import type { Ceilings } from "../kernels/bench-ceilings.ts";
import type { ContextRate, RowsRate } from "./bench-decode.ts";
import { describeFirst, type FirstToken, time } from "./bench-first.ts";
import { describeProducts } from "./bench-products.ts";
import { describeVersus, type Versus } from "./bench-vs.ts";

const percent = (fraction: number): string => `${(100 * fraction).toFixed(1)} %`;

export interface Report {
  adapter: string;
  weights: string;
  precision: Precision;
  ceilings: Ceilings;
  load: {
    bytes: number;
    seconds: number;
    /** Reading the same files into memory; `null` where there are none, or more than the machine has memory for. */
    readSeconds: number | null;
    /** The load's rate over that of reading into memory. */
    fraction: number | null;
    /** Reading them piece after piece into the same few bytes of memory. */
    rereadSeconds: number | null;
    compileSeconds: number;
  };
  vision: { tiles: number; ms: number; gflops: number; fraction: number };
  prefill: { tokens: number; ms: number; tokensPerSecond: number; gflops: number; fraction: number };
  firstTokens: FirstToken[];
  decode: Record<
    | "tokensPerSecond"
    | "bytesPerToken"
    | "floorTokensPerSecond"
    | "fraction"
    | "dispatchesPerToken"
    | "bindGroupsPerToken"
    | "buffersPerToken"
    | "awaitedReadbacksPerToken"
    | "cpuMsPerToken",
    number
  > & { rowsTogether: RowsRate; atContext: ContextRate[]; versus?: Versus };
  memory: { gpuBytes: number; peakRssBytes: number };
  products: Choice[];
}

/** What was measured, for people. */
export function describe({
  adapter,
  weights,
  precision,
  ceilings,
  load,
  vision,
  prefill,
  firstTokens,
  decode: d,
  memory,
  products,
}: Report): string {
  const rate = (load.bytes / 1e6 / load.seconds).toFixed(0);
  const into =
    load.readSeconds === null
      ? ""
      : `${load.readSeconds.toFixed(2)} s into memory (the load's rate is ${percent(load.fraction!)} of that), `;
  const read =
    load.rereadSeconds === null
      ? "made on the GPU"
      : `reading the files alone: ${into}${load.rereadSeconds.toFixed(2)} s into the same few MiB over and over`;
  return `${[
    `${adapter}, weights in ${weights}, products ${precision}; ceilings: ${ceilings.fmaGflops.toFixed(1)} GFLOP/s, reading ${ceilings.streamGBps.toFixed(1)} GB/s`,
    `load     ${(load.bytes / 1e6).toFixed(1)} MB in ${load.seconds.toFixed(2)} s (${rate} MB/s), then ${load.compileSeconds.toFixed(2)} s of compiling`,
    `         ${read}`,
    `vision   ${vision.tiles} tiles in ${time(vision.ms)}: ${vision.gflops.toFixed(1)} GFLOP/s, ${percent(vision.fraction)} of the ceiling`,
    `prefill  ${prefill.tokens} tokens in ${time(prefill.ms)}, ${prefill.tokensPerSecond.toFixed(1)} tokens/s: ${prefill.gflops.toFixed(1)} GFLOP/s, ${percent(prefill.fraction)} of the ceiling`,
    ...firstTokens.map(describeFirst),
    `decode   ${d.tokensPerSecond.toFixed(2)} tokens/s; at most ${d.floorTokensPerSecond.toFixed(2)} by ${(d.bytesPerToken / 1e6).toFixed(1)} MB a token: ${percent(d.fraction)}`,
    `         a token: ${d.dispatchesPerToken.toFixed(1)} dispatches, ${d.bindGroupsPerToken.toFixed(2)} bind groups, ${d.buffersPerToken.toFixed(2)} buffers, ${d.awaitedReadbacksPerToken.toFixed(2)} awaited readbacks, ${d.cpuMsPerToken.toFixed(2)} ms of the main thread`,
    `         ${d.rowsTogether.rows} rows together: ${d.rowsTogether.tokensPerSecond.toFixed(2)} tokens/s, ${d.rowsTogether.ratio.toFixed(2)} times one row's`,
    ...d.atContext.map(
      (at) =>
        `         at ${at.context} tokens of context: ${at.tokensPerSecond.toFixed(2)} tokens/s, by its bytes ${at.expectedTokensPerSecond.toFixed(2)}: ${percent(at.beyond)} beyond`,
    ),
    ...(d.versus ? describeVersus(d.versus) : []),
    `memory   ${(memory.gpuBytes / 1e6).toFixed(1)} MB on the GPU, ${(memory.peakRssBytes / 1e6).toFixed(1)} MB resident at most`,
    "products",
    ...describeProducts(products),
  ].join("\n")}\n`;
}
