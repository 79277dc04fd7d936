import type { Report } from "../../../src/harness/report.ts";
import { byId, make } from "../../demo/dom.ts";
import type { BenchResult } from "../bench.ts";
import type { Ceilings } from "../bench-ceilings.ts";
import { reasonsOf } from "../choose.ts";

/** A row whose first cell names it; on a narrow page each cell shows its column's name, from `data-label`. */
function addRow(table: HTMLElement, cells: readonly (string | Node)[], className = ""): void {
  const labels = [...table.querySelectorAll("th[scope=col]")].map((head) => head.textContent ?? "");
  const row = make("tr", { className });
  for (const [i, content] of cells.entries()) {
    const cell = i === 0 ? make("th", { scope: "row" }, content) : make("td", {}, content);
    cell.dataset.label = labels[i]!;
    row.append(cell);
  }
  table.querySelector("tbody")!.append(row);
  table.hidden = false;
}

function addNote(className: string, head: string, text: string): void {
  byId("notes").append(make("li", { className }, make("strong", {}, head), ` ${text}`));
}

/** A line an op, and what failed or is not supported. */
export function showReport({ ops, failures, lacking }: Report): void {
  for (const [op, { cases, passed, failed, unsupported, worstNmse, worstCase }] of Object.entries(ops)) {
    const numbers = [cases, passed, failed, unsupported].map(String);
    // Names are long and without spaces: they may break behind each comma.
    const name = make("code", {}, ...(worstCase ?? "-").split(",").flatMap((part, i) => (i === 0 ? [part] : [",", make("wbr"), part])));
    addRow(byId("tests"), [op, ...numbers, worstNmse === undefined ? "-" : worstNmse.toExponential(1), name], failed ? "failed" : "");
  }
  for (const { name, reason } of failures) addNote("failed", "Failed:", `${name}: ${reason}`);
  for (const { reason, cases, first } of reasonsOf(lacking)) {
    addNote("", "Unsupported:", `${cases} case${cases === 1 ? "" : "s"}, the first ${first}: ${reason}`);
  }
}

export function showCeilings({ fmaGflops, streamGBps, copyGBps }: Ceilings): void {
  const rows: [string, string][] = [
    ["Multiply-adds", `${fmaGflops.toFixed(1)} GFLOP/s`],
    ["Reading", `${streamGBps.toFixed(2)} GB/s`],
    ["Copying", `${copyGBps.toFixed(2)} GB/s`],
  ];
  byId("ceilings").replaceChildren(...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  byId("ceilings").hidden = false;
}

export function showResult({ name, n, ms, minMs, maxMs, gflops, gbps, fraction }: BenchResult): void {
  const label = make("code", {}, ...name.split(",").flatMap((part, i) => (i === 0 ? [part] : [",", make("wbr"), part])));
  const bar = make("span", { className: "bar", ariaHidden: "true" });
  bar.style.setProperty("--share", String(Math.min(1, fraction)));
  const share = make("span", { className: "share" }, `${(100 * fraction).toFixed(1)} %`, bar);
  const times = [...[ms, minMs, maxMs].map((value) => value.toFixed(3)), String(n)];
  addRow(byId("speeds"), [label, ...times, gflops.toFixed(1), gbps.toFixed(2), share]);
}

export const showProblem = (problem: string): void => addNote("failed", "Not timed:", problem);

/** Empties everything for the next run. */
export function clear(): void {
  for (const id of ["tests", "speeds"]) {
    byId(id).querySelector("tbody")!.replaceChildren();
    byId(id).hidden = true;
  }
  for (const id of ["empty", "ceilings", "adapter"]) byId(id).hidden = true;
  byId("notes").replaceChildren();
}
