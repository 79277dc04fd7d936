import { appendFileSync, chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const MOST_LINES = 1000;
const MOST_BYTES = 2 ** 20; // a file of more is somebody else's, or begins anew

/** Where the lines of interactive chats are kept: INTERNVL_HISTORY (empty: nowhere), else below the user's state. */
export function historyFile(env: NodeJS.ProcessEnv = process.env, system: NodeJS.Platform = process.platform): string | undefined {
  if (env.INTERNVL_HISTORY !== undefined) return env.INTERNVL_HISTORY || undefined;
  const state = system === "win32" ? env.LOCALAPPDATA : env.XDG_STATE_HOME;
  return join(state || join(homedir(), ".local", "state"), "internvl", "history");
}

/** Lines that were typed in earlier sessions. Nobody's chat fails because they cannot be read or kept. */
export class LineHistory {
  /** The newest first. */
  readonly lines: string[] = [];
  readonly #path: string | undefined;

  constructor(path: string | undefined) {
    this.#path = path;
    if (path === undefined) return;
    try {
      chmodSync(path, 0o600); // what is asked is private
      const text = statSync(path).size > MOST_BYTES ? "" : readFileSync(path, "utf8");
      const lines = text.split("\n").filter(Boolean);
      this.lines = lines.slice(-MOST_LINES).reverse();
      if (lines.length > MOST_LINES || !text)
        writeFileSync(
          path,
          [...this.lines]
            .reverse()
            .map((line) => `${line}\n`)
            .join(""),
        );
    } catch {}
  }

  /** Keeps a line, which has no break. */
  add(line: string): void {
    if (this.#path === undefined || line.length > 2 ** 16) return;
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      appendFileSync(this.#path, `${line}\n`, { mode: 0o600 });
    } catch {}
  }
}
