import type { PortableError } from "../../../src/api/worker-protocol.ts";
import type { Report } from "../../../src/harness/report.ts";
import type { BenchReport, BenchResult } from "../bench.ts";
import type { Ceilings } from "../bench-ceilings.ts";
import type { Choice } from "../choose.ts";

/** What the page asks its worker for; a worker runs one request. */
export interface Request extends Choice {
  kind: "test" | "bench";
  /** Cases that take a CPU adapter seconds, too. */
  large: boolean;
  seed: number;
}

/** What the worker tells, in this order; `done` or `error` is the last. */
export type Message =
  | { type: "adapter"; adapter: string }
  /** A case has run. */
  | { type: "case"; name: string; done: number; total: number }
  /** All cases of some op have run. */
  | { type: "report"; report: Report }
  | { type: "ceilings"; ceilings: Ceilings }
  | { type: "result"; result: BenchResult }
  | { type: "problem"; problem: string }
  | { type: "done"; bench?: BenchReport }
  | { type: "error"; error: PortableError };
