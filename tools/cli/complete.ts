import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";

/** The paths that begin with a text, folders with a `/` behind them. */
function paths(begun: string): string[] {
  const folder = begun.endsWith("/") ? begun : begun.includes("/") ? join(dirname(begun), "/") : "";
  const name = begun.endsWith("/") ? "" : basename(begun);
  const home = folder.replace(/^~(?=\/)/, homedir());
  try {
    return readdirSync(home || ".", { withFileTypes: true })
      .filter((entry) => entry.name.startsWith(name) && (name.startsWith(".") || !entry.name.startsWith(".")))
      .map((entry) => folder + entry.name + (entry.isDirectory() ? "/" : ""))
      .sort();
  } catch {
    return []; // no such folder: nothing to complete
  }
}

/**
 * What Tab makes of a half-typed line, as readline asks for it: a command's name, or the path behind a command that takes one.
 *
 * @param commands their names, with whether each takes a path
 */
export function completed(line: string, commands: ReadonlyMap<string, boolean>): [string[], string] {
  const [, name, begun] = /^\/(\S*)(?:\s+(.*))?$/.exec(line) ?? [];
  if (name === undefined) return [[], line];
  if (begun === undefined && !/\s$/.test(line)) {
    return [[...commands.keys()].filter((each) => each.startsWith(name)).map((each) => `/${each} `), line];
  }
  return commands.get(name) ? [paths(begun ?? ""), begun ?? ""] : [[], line];
}
