import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { platform } from "#platform";
import { EngineError, throwIfAborted } from "../../src/errors.ts";
import { openGpu } from "../../src/gpu/device.ts";
import type { KernelCase } from "../../src/harness/case.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { type Report, runCases } from "../../src/harness/report.ts";
import { quoted } from "../../src/options.ts";
import { chooseCases, reasonsOf, reportJson } from "../kernels/choose.ts";
import { UsageError } from "./failures.ts";
import { interrupted } from "./interrupt.ts";
import { status } from "./model.ts";
import { checkPrefix, writeReport } from "./output.ts";

interface Flags {
  op?: string;
  filter?: string;
  adapter?: string;
  seed: number;
  cases?: string;
  quick?: boolean;
  robustness: boolean;
  out?: string;
  json?: boolean;
}

/** The cases of a kernel author: what a module's default export lists. */
async function casesOf(path: string): Promise<KernelCase[]> {
  let own: unknown;
  try {
    own = ((await import(pathToFileURL(resolve(path)).href)) as { default?: unknown }).default;
  } catch (cause) {
    throw new EngineError("bad-input", `cannot load the cases of ${quoted(path)}: ${(cause as Error).message}`, {
      hint: "give the path of a module",
      cause,
    });
  }
  const isCase = (each: unknown) => typeof each === "object" && each !== null && "name" in each && "record" in each;
  if (!Array.isArray(own) || !own.every(isCase)) {
    throw new EngineError("bad-input", `the default export of ${quoted(path)} is not a list of kernel cases`, {
      hint: "make them with defineKernelCase from internvl-webgpu/testing",
    });
  }
  return own as KernelCase[];
}

function table({ adapter, ops, failures, lacking }: Report): string {
  const rows = Object.entries(ops).map(([op, o]) => [
    op,
    o.cases,
    o.passed,
    o.failed,
    o.unsupported,
    o.worstNmse === undefined ? "-" : o.worstNmse.toExponential(1),
    o.worstCase ?? "-",
  ]);
  const all = [["op", "cases", "passed", "failed", "unsupported", "worst NMSE", "worst case"], ...rows].map((row) => row.map(String));
  const widths = all[0]!.map((_, i) => Math.max(...all.map((row) => row[i]!.length)));
  const line = (row: string[]) =>
    row.map((cell, i) => (i === 0 || i === 6 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ");
  return [
    adapter,
    ...all.map((row) => `  ${line(row).trimEnd()}`),
    ...reasonsOf(lacking).map(({ reason, cases, first }) => `  unsupported: ${cases} cases, the first ${first}: ${reason}`),
    ...failures.map(({ name, reason }) => `  FAILED ${name}: ${reason}`),
  ].join("\n");
}

/** `internvl kernels test`: every case on every adapter present, or on the one whose name contains `adapter`. */
export async function kernelsTest(flags: Flags): Promise<void> {
  const began = performance.now();
  await checkPrefix(flags.out);
  const all = flags.cases === undefined ? kernelCases(flags.seed) : await casesOf(flags.cases);
  const cases = chooseCases(flags.quick ? all.filter(({ size }) => size !== "full") : all, flags);
  if (typeof cases === "string") throw new UsageError(cases);
  const adapters = flags.adapter === undefined ? await platform.listAdapters() : [flags.adapter];
  process.stderr.write(`${cases.length} cases, random shapes from seed ${flags.seed}\n`);
  const reports: Report[] = [];
  for (const adapter of adapters) {
    const gpu = await openGpu({ adapter, robustness: flags.robustness, autotune: false });
    try {
      const each = (name: string, done: number) => {
        throwIfAborted(interrupted);
        status(`${gpu.adapterName}: ${done} of ${cases.length}  ${name}`);
      };
      const report = await runCases(gpu, cases, { seed: flags.seed, each: ({ name }, done) => each(name, done) });
      status("");
      reports.push(report);
      if (!flags.json) process.stdout.write(`${table(report)}\n`);
      else for (const { name, reason } of report.failures) process.stderr.write(`FAILED on ${report.adapter}: ${name}: ${reason}\n`);
    } finally {
      gpu.close();
    }
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ adapters: reports.map(reportJson) })}\n`);
  if (flags.out !== undefined) {
    const info = { date: new Date().toISOString(), command: `internvl ${process.argv.slice(2).join(" ")}` };
    const seconds = Math.round((performance.now() - began) / 1000);
    const page = [`# Kernels against their float64 twins`, `${info.date}, ${seconds} s, by \`${info.command}\``];
    const tables = reports.map((report) => `\`\`\`\n${table(report)}\n\`\`\``);
    const json = `${JSON.stringify({ ...info, seconds, adapters: reports.map(reportJson) }, undefined, 1)}\n`;
    await writeReport(flags.out, json, `${[...page, ...tables].join("\n\n")}\n`);
  }
  if (reports.some(({ failed }) => failed > 0)) process.exitCode = 1;
}
