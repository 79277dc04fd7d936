import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { platform } from "#platform";
import { throwIfAborted } from "../../src/errors.ts";
import type { Precision } from "../../src/gpu/program.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { quoted } from "../../src/options.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";
import { compileFor } from "../gpu-compiler/compile.ts";
import { checkSystem } from "../gpu-compiler/driver.ts";
import { FAMILIES, type FamilyName } from "../gpu-compiler/families.ts";
import type { Job } from "../gpu-compiler/job.ts";
import { formatLimits, LIMITS, readLimits, type Shortfall, shortfalls, tightened } from "../gpu-compiler/limits.ts";
import type { Row } from "../gpu-compiler/rows.ts";
import { describeFamily, describeShortfall, describeToken } from "../gpu-compiler/table.ts";
import type { TokenCost } from "../gpu-compiler/token.ts";
import { entryPoints } from "../gpu-compiler/wgsl.ts";
import { chooseCases } from "../kernels/choose.ts";
import { loadOrt } from "../kernels/ort-load.ts";
import { onFile, UsageError } from "./failures.ts";
import { interrupted } from "./interrupt.ts";
import { checkPrefix } from "./output.ts";
import { clearStatus, news } from "./status.ts";

interface Flags {
  family: string[];
  config: string[];
  weights: MatrixDtype[];
  precision: Precision[];
  op?: string;
  filter?: string;
  wgsl: string[];
  size?: number;
  vs?: "ort";
  isa?: string;
  token?: boolean;
  tighten?: boolean;
  json?: boolean;
}

/** Configurations that come with the program. */
const EMBEDDED: Readonly<Record<string, string>> = { "1b": "internvl2_5-1b", "4b": "internvl2_5-4b" };
const FORMATS: readonly MatrixDtype[] = ["bf16", "q8", "q4"];
const PRECISIONS: readonly Precision[] = ["exact", "auto", "fast"];

/** What was asked for, each once; everything where nothing was. */
const chosen = <T>(asked: readonly T[], all: readonly T[]): T[] => [...(asked.length ? new Set(asked) : all)];
const USUAL: FamilyName = "navi31";

function familiesOf(names: readonly string[]): FamilyName[] {
  const all = Object.keys(FAMILIES) as FamilyName[];
  if (names.length === 0) return [USUAL];
  if (names.includes("all")) return all;
  const odd = names.find((name) => !all.some((family) => family === name));
  if (odd !== undefined) throw new UsageError(`there is no family ${quoted(odd)}; there are all, ${all.join(", ")}`);
  return [...new Set(names as FamilyName[])];
}

async function readModels({ config, weights, precision }: Flags): Promise<NonNullable<Job["models"]>> {
  return Promise.all(
    config.map(async (name) => {
      const own = EMBEDDED[name];
      const path = own ? fileURLToPath(new URL(`../../../test/fixtures/${own}.config.json`, import.meta.url)) : name;
      const bytes = await platform.readFile(path);
      parseConfig(bytes); // said here what is wrong with it
      return {
        name,
        config: new TextDecoder().decode(bytes),
        weights: chosen(weights, FORMATS),
        precisions: chosen(precision, PRECISIONS),
      };
    }),
  );
}

/** @throws UsageError, EngineError bad-input: told before anything is fetched or compiled */
async function jobOf(flags: Flags): Promise<Omit<Job, "adapter" | "statistics">> {
  const { op, filter, wgsl, size, config, weights, precision, tighten } = flags;
  const all = tighten ? { ...flags, config: Object.keys(EMBEDDED) } : flags;
  if (tighten && (op ?? filter ?? wgsl[0] ?? config[0] ?? weights[0] ?? precision[0] ?? size) !== undefined)
    throw new UsageError("--tighten compiles everything: leave out --config, --weights, --precision, --op, --filter, --wgsl and --size");
  if (flags.token && !config.length) throw new UsageError("--token is of a model: give --config too");
  if (weights.length && !config.length) throw new UsageError("--weights is of a model: give --config too");
  if (precision.length && !config.length) throw new UsageError("--precision is of a model: give --config too");
  if (size !== undefined && !wgsl.length) throw new UsageError("--size is of files: give --wgsl too");
  const wantsCases = op !== undefined || filter !== undefined || (!config.length && !wgsl.length);
  if (wantsCases) {
    const cases = chooseCases(kernelCases(), { op, filter });
    if (typeof cases === "string") throw new UsageError(cases);
  }
  for (const path of wgsl) {
    const source = new TextDecoder().decode(await platform.readFile(path));
    if (entryPoints(source).length === 0) throw new UsageError(`${quoted(path)} has no @compute entry point`);
  }
  return {
    models: await readModels(all),
    token: flags.token === true,
    ...(wantsCases ? { cases: { op, filter } } : {}),
    ...(wgsl.length ? { files: { paths: wgsl, size } } : {}),
  };
}

function tell(known: readonly Shortfall[], fresh: readonly Shortfall[]): void {
  const reasons = new Map<string, Shortfall[]>();
  for (const each of known) {
    const key = `${each.exception!.kernel}: ${each.exception!.why}`;
    reasons.set(key, [...(reasons.get(key) ?? []), each]);
  }
  for (const [reason, all] of reasons)
    process.stdout.write(`known (${all.length} on ${[...new Set(all.map(({ row }) => row.family))].join(", ")}): ${reason}\n`);
  for (const each of fresh) process.stdout.write(`FALLS SHORT: ${describeShortfall(each)}\n`);
}

/** `internvl kernels compile`: what real GPUs' compilers make of kernels, without the GPUs; exit code 1 where something falls short of the limits. */
export async function kernelsCompile(flags: Flags): Promise<void> {
  const families = familiesOf(flags.family);
  const job = await jobOf(flags);
  checkSystem();
  if (flags.vs) loadOrt(); // told at once where it is missing
  await checkPrefix(flags.isa);
  const limits = readLimits();
  const show = news();
  const rows: Row[] = [];
  const adapters: Record<string, string> = {};
  const listing: string[] = [];
  const tokens: (TokenCost & { family: FamilyName })[] = [];
  for (const family of families) {
    const listener = {
      tell: (text: string) => void process.stderr.write(`${text}\n`),
      onKernel: (kernel: string, done: number) => show(`${family}: ${done} compiled, now ${kernel}`),
      signal: interrupted,
    };
    const jobs = [job, ...(flags.vs ? [{ ort: true }] : [])];
    const found: Row[] = [];
    for (const each of jobs) {
      const compiled = await compileFor(family, each, listener).catch((error: unknown) => {
        throwIfAborted(interrupted);
        throw error;
      });
      if (!("ort" in each)) adapters[family] = compiled.adapter;
      found.push(...compiled.rows);
      tokens.push(...compiled.tokens.map((cost) => ({ family, ...cost })));
      for (const [i, { kernel, usedBy }] of compiled.rows.entries())
        listing.push(`## ${family} ${kernel} (${usedBy.join(", ")})\n\n${compiled.texts[i] || "no machine code"}\n`);
    }
    rows.push(...found);
    clearStatus();
    if (flags.json) continue;
    process.stdout.write(`${describeFamily(family, adapters[family] ?? "", found)}\n`);
    for (const each of tokens) if (each.family === family) process.stdout.write(`  ${describeToken(each)}\n`);
  }
  const ours = rows.filter(({ kernel }) => !kernel.startsWith("ort "));
  const short = shortfalls(ours, limits);
  const fresh = short.filter(({ exception }) => !exception);
  const known = short.filter(({ exception }) => exception);
  if (flags.isa !== undefined) await onFile("write", flags.isa, writeFile(flags.isa, listing.join("\n")));
  if (flags.tighten) {
    const text = formatLimits({ ...limits, exceptions: tightened(limits, ours, families) });
    await onFile("write", LIMITS, writeFile(LIMITS, text));
  }
  if (flags.json) {
    const line = ({ row, measure, value, limit, atLeast, exception }: Shortfall) => ({
      family: row.family,
      kernel: row.kernel,
      measure,
      value,
      [atLeast ? "atLeast" : "atMost"]: limit,
      ...(exception && { known: exception.why }),
    });
    process.stdout.write(`${JSON.stringify({ adapters, kernels: rows, tokens, known: known.map(line), fallsShort: fresh.map(line) })}\n`);
  } else tell(known, fresh);
  if (fresh.length) process.exitCode = 1;
}
