import { decodeError } from "../../../src/api/worker-protocol.ts";
import type { Report } from "../../../src/harness/report.ts";
import { byId } from "../../demo/dom.ts";
import { explain } from "../../demo/explain.ts";
import { type BenchReport, isOp } from "../bench.ts";
import { benchCases } from "../bench-cases.ts";
import { reportJson } from "../choose.ts";
import { casesOf } from "./cases.ts";
import type { Message, Request } from "./protocol.ts";
import { clear, showCeilings, showProblem, showReport, showResult } from "./tables.ts";

const op = byId<HTMLSelectElement>("op");
const [filter, seed, large] = ["filter", "seed", "large"].map((id) => byId<HTMLInputElement>(id)) as [
  HTMLInputElement,
  HTMLInputElement,
  HTMLInputElement,
];
const [test, bench, stop, copy] = ["test", "bench", "stop", "copy"].map((id) => byId<HTMLButtonElement>(id)) as [
  HTMLButtonElement,
  HTMLButtonElement,
  HTMLButtonElement,
  HTMLButtonElement,
];
const bar = byId<HTMLProgressElement>("progress");
const state = byId("state");

let worker: Worker | undefined;
let reports: Report[] = [];
let benched: BenchReport | undefined;
/** Where a run is, for the line that says it was stopped. */
let reached = "";

const asked = (): Omit<Request, "kind"> => ({
  op: op.value || undefined,
  filter: filter.value.trim(),
  large: large.checked,
  seed: seed.valueAsNumber,
});

function refresh(): void {
  const running = worker !== undefined;
  const cases = seed.validity.valid ? casesOf(asked()) : "the seed is a whole number";
  const { op: name } = asked();
  const timed = benchCases().some((c) => isOp(c.of(undefined).op, name));
  const count = (cases: number) => `${cases} case${cases === 1 ? "" : "s"} to test`;
  const text = typeof cases === "string" ? `${cases.charAt(0).toUpperCase()}${cases.slice(1)}` : count(cases.length);
  byId("chosen").textContent = `${text}${timed ? "" : "; there is no benchmark of this op"}.`;
  test.disabled = running || typeof cases === "string";
  bench.disabled = running || !timed;
  for (const field of [op, filter, seed, large]) field.disabled = running;
  test.hidden = bench.hidden = running;
  stop.hidden = !running;
  bar.hidden = !running;
  copy.disabled = running || (reports.length === 0 && !benched);
}

/** The document that the command line prints with --json. */
function documentOf(): object {
  if (benched) return benched;
  const sum = (key: "passed" | "failed" | "unsupported") => reports.reduce((total, report) => total + report[key], 0);
  const ops = Object.assign({}, ...reports.map((report) => report.ops)) as Report["ops"];
  const whole = { adapter: reports[0]!.adapter, passed: sum("passed"), failed: sum("failed"), unsupported: sum("unsupported"), ops };
  return { adapters: [reportJson(whole)] };
}

function end(text: string): void {
  worker?.terminate();
  worker = undefined;
  state.textContent = text;
  const held = document.activeElement === stop;
  refresh();
  if (held) test.focus(); // its button goes away
}

function verdict(): string {
  if (benched) return `${benched.cases.length} timed.`;
  const [passed, failed, unsupported] = (["passed", "failed", "unsupported"] as const).map((key) =>
    reports.reduce((total, report) => total + report[key], 0),
  );
  return `${passed} passed, ${failed} failed, ${unsupported} unsupported.`;
}

function receive(message: Message): void {
  if (message.type === "adapter") {
    byId("adapter").textContent = message.adapter;
    byId("adapter").hidden = false;
  } else if (message.type === "case") {
    bar.value = message.done / message.total;
    reached = `${message.done} of ${message.total}`;
    state.textContent = `${reached}: ${message.name}`;
  } else if (message.type === "report") {
    reports.push(message.report);
    showReport(message.report);
  } else if (message.type === "ceilings") {
    showCeilings(message.ceilings);
    state.textContent = "Timing…";
  } else if (message.type === "result") {
    showResult(message.result);
    state.textContent = `Timing… ${message.result.name}`;
  } else if (message.type === "problem") showProblem(message.problem);
  else if (message.type === "done") {
    benched = message.bench;
    end(verdict());
  } else if (message.type === "error") fail(decodeError(message.error));
  else message satisfies never;
}

function fail(error: Error): void {
  byId("problem").replaceChildren(explain(error));
  byId("problem").hidden = false;
  end("");
}

function start(kind: Request["kind"]): void {
  clear();
  reports = [];
  benched = undefined;
  reached = "";
  byId("problem").hidden = true;
  bar.removeAttribute("value"); // until the first case has run, the bar moves
  state.textContent = kind === "test" ? "Opening the adapter…" : "Measuring what the adapter can do at most…";
  worker = new Worker(new URL("worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<Message>) => receive(data);
  worker.onerror = ({ message }) => fail(new Error(`The worker stopped: ${message || "its script did not load"}`));
  worker.postMessage({ kind, ...asked() } satisfies Request);
  refresh();
  stop.focus(); // the button that was pressed is hidden
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!test.disabled) start("test");
});
byId("form").addEventListener("input", refresh);
bench.addEventListener("click", () => start("bench"));
function halt(): void {
  if (!worker) return;
  end(reached ? `Stopped after ${reached} cases.` : "Stopped.");
}
stop.addEventListener("click", halt);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") halt();
});
copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(`${JSON.stringify(documentOf(), null, 2)}\n`);
    state.textContent = "Copied.";
  } catch (error) {
    fail(new Error(`The browser does not let this page copy: ${(error as Error).message}`));
  }
});

const ops = new Set(
  [...(casesOf({ large: true, seed: 1 }) as { op: string }[]), ...benchCases().map((c) => c.of(undefined))].map((each) => each.op),
);
op.append(...[...ops].sort().map((name) => new Option(name, name)));
refresh();
