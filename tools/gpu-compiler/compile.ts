import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { EngineError } from "../../src/errors.ts";
import { nullHardware } from "./driver.ts";
import type { FamilyName } from "./families.ts";
import type { Job } from "./job.ts";
import { type Compiled, readRows } from "./rows.ts";

const CHILD = fileURLToPath(new URL("./child.js", import.meta.url)); // this runs from dist/

/** What Mesa and Dawn say on null hardware, which says nothing about a kernel. */
const NOISE = /ac_compute_device_uuid|^Warning: max|is not a conformant|WARNING: NVK is not|pci bus|^\s*$/;

interface Listener {
  /** What takes long before anything is compiled. */
  tell(text: string): void;
  /** A kernel that is compiled now, and how many came before it. */
  onKernel(kernel: string, done: number): void;
  signal: AbortSignal;
}

/**
 * Compiles on null hardware of a family, in a process of its own.
 *
 * @throws EngineError as `nullHardware`; bad-input where what is to be compiled cannot be made; aborted
 */
export async function compileFor(family: FamilyName, job: Omit<Job, "adapter" | "statistics">, listener: Listener): Promise<Compiled> {
  const { command, env } = await nullHardware(family, listener.tell);
  const folder = await mkdtemp(join(tmpdir(), "internvl-compile-"));
  try {
    const statistics = join(folder, "statistics");
    const whole: Job = { ...job, adapter: env.INTERNVL_ADAPTER!, statistics };
    const [program, ...args] = [...command, CHILD, JSON.stringify(whole)];
    const child = spawn(program!, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env, SHADER_STATS: statistics, SHADER_ISA: "1" },
      signal: listener.signal,
    });
    let done = 0;
    createInterface({ input: child.stdout }).on("line", (kernel) => listener.onKernel(kernel, done++));
    const said: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (!NOISE.test(line)) said.push(line);
    });
    const signal = await new Promise<NodeJS.Signals | null>((resolve, reject) =>
      child.once("error", reject).once("close", (_code, by) => resolve(by)),
    );
    const compiled = readRows(family, await readFile(statistics, "utf8").catch(() => ""));
    if (compiled.adapter) return compiled;
    const words = said.slice(-3).join(" ");
    if (signal === "SIGTERM" || !compiled.crashed)
      throw new EngineError("bad-input", `nothing came of compiling for ${family}: ${words || `the process ended with ${signal}`}`);
    const why = `the compiler ended with ${signal ?? "an error"}${words ? `: ${words}` : ""}`;
    return {
      ...compiled,
      rows: [...compiled.rows, { family, kernel: compiled.crashed, usedBy: [], failed: why }],
      texts: [...compiled.texts, ""],
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
