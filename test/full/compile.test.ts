import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { FAMILIES } from "../../tools/gpu-compiler/families.ts";
import { pathOf } from "../support.ts";

// Compiled by real GPUs' compilers, on Linux x64: .ci/run holds the 1B and the 4B to the limits on a GPU of each maker, this all families.
describe.skipIf(process.platform !== "linux" || process.arch !== "x64")("internvl kernels compile", () => {
  const compile = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [pathOf("dist/tools/cli/main.js"), "kernels", "compile", "--json", ...args],
      {
        encoding: "utf8",
        maxBuffer: 2 ** 28,
      },
    );
    expect(stderr.split("\n").filter((line) => line.startsWith("internvl: "))).toEqual([]);
    return {
      status,
      ...(JSON.parse(stdout) as {
        kernels: { kernel: string; usedBy: string[]; loops?: unknown[] }[];
        known: unknown[];
        fallsShort: unknown[];
      }),
    };
  };

  it.each(Object.keys(FAMILIES))(
    "%s compiles what the 1B and the 4B run, in bf16, q8 and q4, and nothing is worse than the limits say",
    (family) => {
      const { status, kernels, fallsShort } = compile("--family", family, "--config", "1b", "--config", "4b");
      expect(fallsShort).toEqual([]);
      expect(status).toBe(0);
      const users = new Set(kernels.flatMap(({ usedBy }) => usedBy.map((user) => user.replace(/ \w+$/, "")))); // whatever the precision
      expect([...users].sort()).toEqual(["1b bf16", "1b q4", "1b q8", "4b bf16", "4b q4", "4b q8"]);
    },
  );

  it.each(["navi31", "dg2", "ad102", "m1"])("%s compiles every case of the harness that it supports", (family) => {
    const { status, kernels, fallsShort } = compile("--family", family);
    expect(fallsShort).toEqual([]);
    expect(status).toBe(0);
    expect(kernels.length).toBeGreaterThan(100);
  });

  it("a file with an endless need of registers falls short, and one that is wrong says where", () => {
    const wide = compile("--wgsl", pathOf("test/fixtures/gpu-compiler/spills.wgsl"));
    expect(wide.status).toBe(1);
    expect(wide.fallsShort).toContainEqual(expect.objectContaining({ measure: "spills", atMost: 0 }));
    const wrong = compile("--wgsl", pathOf("shaders/bench.fma.wgsl")); // without its constants
    expect(wrong.fallsShort).toEqual([expect.objectContaining({ measure: "failed" })]);
  });
});
