import { readFileSync, rmSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import { EngineError } from "../../src/errors.ts";
import { quoted } from "../../src/options.ts";
import { fileError } from "./failures.ts";

/** The state of a process and when it began, in the kernel's ticks, where the system tells it (Linux). */
function statOf(pid: number): { state: string; born: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")")).split(" ");
    return { state: fields[1] ?? "", born: fields[20] ?? "" };
  } catch {
    return undefined;
  }
}

/** Whether there is such a process; one that was killed and that nobody has buried (in a container without init) is none. */
export const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !/^[ZX]/.test(statOf(pid)?.state ?? "");
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
};

/** Numbers of processes come again, in containers always: what a process is known by is its number and when it began. */
const owner = (pid: number): string => `${pid} ${statOf(pid)?.born ?? ""}\n`;

/** Whether the process that wrote this into its lock is still there. */
function holds(text: string): boolean {
  const pid = Number(text.split(" ")[0]);
  return Number.isInteger(pid) && pid > 0 && pid !== process.pid && alive(pid) && owner(pid) === text;
}

/**
 * Locks a file for this process, by a file beside it that names the process; the lock of a process that is gone is taken over.
 *
 * @returns what unlocks it; the end of the process does so too, where it is not killed
 * @throws EngineError bad-input where another process has it
 */
export async function lock(file: string): Promise<() => void> {
  const path = `${file}.lock`;
  for (;;) {
    try {
      await writeFile(path, owner(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw fileError(`write beside ${quoted(file)}`, error);
    }
    const read = () => readFile(path, "utf8").catch(() => undefined);
    let found = await read();
    if (found === "") {
      await setTimeout(100); // it is being made
      found = await read();
    }
    if (found === undefined) continue; // it has just been unlocked
    if (holds(found)) {
      throw new EngineError("bad-input", `another internvl (process ${found.split(" ")[0]}) writes ${quoted(basename(file))}`, {
        hint: `wait until it has ended, or give another file; where there is no such run, remove ${quoted(basename(path))} beside it`,
      });
    }
    // Two may find the same old lock: only the one that gets it out of the way may go on to make a new one.
    const aside = `${path}.${process.pid}`;
    await rename(path, aside).catch(() => {});
    const moved = await readFile(aside, "utf8").catch(() => undefined);
    if (moved !== undefined && moved !== found)
      await rename(aside, path); // somebody's new one: put back
    else await rm(aside, { force: true });
  }
  const unlock = () => {
    process.off("exit", unlock);
    rmSync(path, { force: true });
  };
  process.on("exit", unlock);
  return unlock;
}
