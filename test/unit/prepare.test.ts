import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { pathOf } from "../support.ts";

it.each([
  { command: "ci", built: true, builds: true },
  { command: "exec", built: false, builds: true },
  { command: "exec", built: true, builds: false }, // npx: it would take half a minute, and Ctrl-C would leave nothing
  { command: "pack", built: false, builds: false }, // prepack has
])("npm $command in a clone, dist there: $built, builds: $builds", ({ command, built, builds }) => {
  const clone = mkdtempSync(join(tmpdir(), "internvl-prepare-"));
  const write = (folder: string, file: string, text = "") => {
    mkdirSync(join(clone, folder), { recursive: true });
    writeFileSync(join(clone, folder, file), text);
  };
  try {
    write("node_modules/typescript/bin", "tsc");
    write("tools", "build.mjs", `import { writeFileSync } from "node:fs"; writeFileSync("builds", "");`);
    cpSync(pathOf("tools/prepare.mjs"), join(clone, "tools/prepare.mjs"));
    if (built) write("dist/tools/cli", "main.js");
    const env = { ...process.env, npm_command: command };
    const { status, stderr } = spawnSync(process.execPath, ["tools/prepare.mjs"], { cwd: clone, env, encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(existsSync(join(clone, "builds"))).toBe(builds);
  } finally {
    rmSync(clone, { recursive: true, force: true });
  }
});
