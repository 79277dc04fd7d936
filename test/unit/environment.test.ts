import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { pathOf } from "../support.ts";

/** Set by the system or a terminal, and read to tell what it is: nobody sets them for this program. */
const SYSTEM = ["KITTY_WINDOW_ID", "KONSOLE_VERSION", "LC_TERMINAL", "LOCALAPPDATA", "STY", "TERM", "TERM_PROGRAM", "TMUX"];

it("docs/command-line.md names every variable that is read, and no other", () => {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "src", "tools/cli", "tools/kernels"], {
    cwd: pathOf(""),
    encoding: "utf8",
  });
  const read = new Set<string>();
  for (const file of files.split("\n").filter((each) => /\.m?ts$/.test(each) && !each.includes("/test/"))) {
    const text = readFileSync(pathOf(file), "utf8");
    // process.env.NAME, env.NAME, env("NAME"), env: "NAME", and lists of names that are looked up.
    for (const [, name] of text.matchAll(/\benv(?:\.|\(")([A-Z][A-Z_]{2,})/g)) read.add(name!);
    if (!/\benv\b/.test(text)) continue;
    for (const [, name] of text.matchAll(/"((?:HF|HUGGING|HUGGINGFACE|INTERNVL|VK|XDG)_[A-Z_]+)"/g)) read.add(name!);
  }
  const table = readFileSync(pathOf("docs/command-line.md"), "utf8").split("## Environment variables")[1]!.split("\n## ")[0]!;
  const named = new Set(
    [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell]) => [...cell!.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name!)),
  );
  expect([...named].sort()).toEqual([...read].filter((name) => !SYSTEM.includes(name)).sort());
});
