import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { looking } from "../../src/platform/node.ts";

/** What Dawn says of adapters whose limits are higher than its own: nobody can do anything about it. Its other lines are shown. */
const KNOWN = /^Warning: max\w+ artificially reduced from \d+ to \d+ /;

/** The lines that were kept from the terminal, for `doctor --verbose`. */
export const kept: string[] = [];

const STDERR = 2;

/** The descriptors as files: opening one of them again gives the same terminal. */
const descriptor = (fd: number): string => (process.platform === "linux" ? `/proc/self/fd/${fd}` : `/dev/fd/${fd}`);

/** Opens a file as descriptor 2, which the system gives out first once it is free. */
function asStderr(path: string, flags: string): boolean {
  closeSync(STDERR);
  const fd = openSync(path, flags, 0o600);
  if (fd === STDERR) return true;
  closeSync(fd); // another thread was faster: what it opened is its own
  return false;
}

/** Runs a call while what native code writes on stderr goes into a file; then shows what of it a user should see. */
function quietly<T>(call: () => T): T {
  let again: number | undefined;
  let folder: string | undefined;
  try {
    again = openSync(descriptor(STDERR), "r+");
    folder = mkdtempSync(join(tmpdir(), "internvl-"));
  } catch {
    // A terminal that cannot be opened again (another user's), or no place for the file: then Dawn is heard.
  }
  const file = folder && join(folder, "stderr");
  if (again === undefined || file === undefined) return call();
  const caught = asStderr(file, "w+");
  try {
    return call();
  } finally {
    if (caught) asStderr(descriptor(again), "r+");
    closeSync(again);
    const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
    rmSync(folder!, { recursive: true, force: true });
    kept.push(...lines.filter((line) => KNOWN.test(line)));
    for (const line of lines) if (!KNOWN.test(line)) process.stderr.write(`${line}\n`);
  }
}

/**
 * Keeps Dawn's own warnings from a terminal. It writes them with C's stdio and has no switch for them, so descriptor 2 leads elsewhere while it
 * looks for adapters; Node's own stderr has a descriptor of its own there. Pipes and files get everything, and so does INTERNVL_DEBUG=1.
 */
export function quietenDawn(): void {
  if (process.platform === "win32" || !process.stderr.isTTY || process.env.INTERNVL_DEBUG === "1") return;
  if (fstatSync(STDERR).isCharacterDevice()) looking.around = quietly;
}
