import { fork } from "node:child_process";
import { once } from "node:events";
import { pathToFileURL } from "node:url";
import { pathOf } from "../support.ts";

/** The environment of a program that is to be interrupted while it writes files. */
export const HELD_WRITES = { NODE_OPTIONS: `--import=${pathToFileURL(pathOf("test/shared/held-writes.mjs")).href}` };

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/**
 * The built program, whose runs share a process and its device (cli-host.mjs). One run at a time.
 *
 * @throws Error where a run ends the process, with its exit code, or leaves files open
 */
export function hostedCli(env: NodeJS.ProcessEnv = {}): { run(args: readonly string[], cwd: string): Promise<Ended>; close(): void } {
  const child = fork(pathOf("test/shared/cli-host.mjs"), {
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the process of all runs has ended with ${code}`);
  });
  ended.catch(() => {}); // told by the run
  return {
    async run(args, cwd) {
      const answer = once(child, "message");
      child.send({ args, cwd });
      const [{ stdout, stderr, status }] = (await Promise.race([answer, ended])) as [Ended];
      if (/^left open: /m.test(stderr)) throw new Error(`${args.join(" ")}: ${stderr}`); // whatever else the test looks at
      // lavapipe makes Dawn itself warn about limits; that is not ours to tell
      const own = stderr.split("\n").filter((line) => line && !line.startsWith("Warning: max"));
      return { status, stdout, stderr: own.join("\n") };
    },
    close: () => child.disconnect(),
  };
}
