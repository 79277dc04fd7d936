import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { temporaryFolder } from "../hub-server.ts";
import { pathOf } from "../support.ts";

const NOISE =
  "Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.";

/** What a terminal shows of a program in which native code (here a shell's `echo`) writes on descriptor 2, twice, while Dawn looks for adapters. */
function shown(env: Record<string, string>) {
  const native = `() => spawnSync("sh", ["-c", "echo '${NOISE}' >&2; echo 'MESA: error: the driver is broken' >&2"], { stdio: "inherit" })`;
  const program = `
    import { spawnSync } from "node:child_process";
    import { readdirSync } from "node:fs";
    import { kept, quietenDawn } from "${pathOf("dist/tools/cli/quiet.js")}";
    import { looking } from "${pathOf("dist/src/platform/node.js")}";
    const open = () => readdirSync("/proc/self/fd").length;
    quietenDawn();
    const before = open();
    looking.around(${native});
    try { looking.around(() => { throw new Error("thrown") }); } catch (error) { process.stderr.write(error.message + "\\n"); }
    looking.around(${native});
    spawnSync("sh", ["-c", "echo 'after' >&2"], { stdio: "inherit" });
    process.stderr.write("kept " + kept.length + ", descriptors " + (open() - before) + "\\n");`.replaceAll("\n", " ");
  const command = `exec "${process.execPath}" --input-type=module -e '${program.replaceAll("'", "'\\''")}'`;
  return spawnSync("script", ["-qec", command, "/dev/null"], {
    encoding: "utf8",
    env: { ...process.env, ...env },
    input: "",
  }).stdout.replaceAll("\r", "");
}

const ERROR = "MESA: error: the driver is broken\n";

it.runIf(process.platform === "linux")("Dawn's warnings stay off a terminal, and nothing else that native code says is lost", () => {
  const { path, remove } = temporaryFolder();
  expect(shown({ TMPDIR: path })).toBe(`${ERROR}thrown\n${ERROR}after\nkept 2, descriptors 0\n`);
  expect(readdirSync(path)).toEqual([]);
  remove();
});

it.runIf(process.platform === "linux")("are shown with INTERNVL_DEBUG=1, and where there is no place to keep them", () => {
  const all = `${NOISE}\n${ERROR}thrown\n${NOISE}\n${ERROR}after\nkept 0, descriptors 0\n`;
  expect(shown({ INTERNVL_DEBUG: "1" })).toBe(all);
  expect(shown({ TMPDIR: "/nowhere" })).toBe(all);
});
