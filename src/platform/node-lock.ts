import { randomBytes } from "node:crypto";
import { open, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, makeFolder, unlessMissing } from "./files.ts";

const RENEW = 5_000; // ms between two signs of life of a holder: the modification time of its lock
const STALE = 60_000; // ms of watching in vain for one, after which the holder counts as dead
const POLL = 200; // ms

/** Whether the lock's holder is known to be gone: a process of this machine that no longer runs. */
function isDead(text: string): boolean {
  try {
    const { pid, host } = JSON.parse(text) as { pid: number; host: string };
    if (host === hostname()) process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH"; // not EPERM: it lives, and is another user's; nor for text that is not JSON: it is being written
  }
}

/** Removes a lock that still holds `text`. Two processes may want to at once: only one at a time looks again and removes. */
async function breakLock(path: string, text: string): Promise<void> {
  const guard = `${path}.guard`;
  try {
    await (await open(guard, "wx")).close();
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
    const other = await unlessMissing(stat(guard));
    if (other && Date.now() - other.mtimeMs > STALE) await rm(guard, { force: true });
    return;
  }
  try {
    if ((await unlessMissing(readFile(path, "utf8"))) === text) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** Waits until no process holds `path`, a file that is made for it; gives the function that releases it. */
export async function lock(path: string, signal?: AbortSignal): Promise<() => Promise<void>> {
  await makeFolder(dirname(path));
  // What a lock holds; the random part tells two of one process apart.
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), nonce: randomBytes(8).toString("hex") });
  let sign = 0;
  let since = performance.now(); // this clock stands still while the machine sleeps: its holder is not to blame for that
  for (;;) {
    signal?.throwIfAborted();
    try {
      await writeFile(path, mine, { flag: "wx" });
      break;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const text = await unlessMissing(readFile(path, "utf8"));
    const found = await unlessMissing(stat(path));
    if (text === undefined || !found) continue; // released just now
    if (found.mtimeMs !== sign) {
      sign = found.mtimeMs;
      since = performance.now();
    }
    if (isDead(text) || performance.now() - since > STALE) await breakLock(path, text);
    else await sleep(POLL * (0.5 + Math.random()), undefined, signal ? { signal } : {});
  }
  const timer = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), RENEW);
  timer.unref();
  return async () => {
    clearInterval(timer);
    if ((await unlessMissing(readFile(path, "utf8"))) === mine) await rm(path, { force: true });
  };
}
