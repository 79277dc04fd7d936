import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { demandBuild } from "../build.ts";

let root: string;
const write = (file: string, at: number) => {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), "");
  utimesSync(join(root, file), at, at);
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "internvl-build-"));
  for (const file of ["src/index.ts", "src/media/a.ts", "src/globals.d.ts", "tools/demo/page.ts"]) write(file, 1000);
  writeFileSync(join(root, "tsconfig.build.json"), JSON.stringify({ exclude: ["tools/demo"] }));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

it("a build that is missing, whole or older than a source is reported with the remedy", () => {
  const demand = (folders = ["src", "tools"]) => demandBuild(folders, root);
  expect(demand).toThrow("these tests run dist/, which is missing: run `npm run build` first");
  write("dist/src/index.js", 1001);
  expect(demand).toThrow("older than src/media/a.ts: run `npm run build` first");
  write("dist/src/media/a.js", 1001);
  demand();
  write("src/index.ts", 2000);
  write("src/media/b.ts", 2000);
  expect(demand).toThrow("older than src/index.ts and 1 more: run");
  expect(() => demand(["src/media"])).toThrow("older than src/media/b.ts: run");
  write("dist/src/media/b.js", 2000);
  demand(["src/media"]);
});
