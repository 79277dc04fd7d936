import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { pathOf } from "../support.ts";

/** The files that a file reads before it runs, all the way down. */
function readWith(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(pathOf(file), "utf8");
  for (const [, specifier] of text.matchAll(/^(?:import|export) (?!type )[^;]*?from "(\.[^"]+)";/gms)) {
    readWith(join(dirname(file), specifier!), found);
  }
  return found;
}

it("whoever asks for --help waits for no engine: commands are read when they run", () => {
  expect(
    [...readWith("tools/cli/main.ts"), ...readWith("tools/cli/program.ts")].filter((file) =>
      /^src\/(gpu|model|weights|hub|platform|media|generate)\//.test(file),
    ),
  ).toEqual([]);
  expect(readWith("tools/cli/chat.ts").size).toBeGreaterThan(50); // the walk does find what a command reads
});
