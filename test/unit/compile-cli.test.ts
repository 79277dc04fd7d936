import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";

// The built program, as a user runs it. Nothing here gets as far as a compiler: what that says is held by test/full and .ci/run.
const folder = mkdtempSync(join(tmpdir(), "internvl-compile-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

function compile(args: readonly string[], env: Record<string, string> = {}): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [pathOf("dist/tools/cli/main.js"), "kernels", "compile", ...args], {
    encoding: "utf8",
    cwd: folder,
    env: { ...process.env, INTERNVL_ORT: folder, XDG_CACHE_HOME: join(folder, "cache"), ...env },
  });
  return { status, stdout, stderr: stderr.trimEnd() };
}

describe("internvl kernels compile", () => {
  it("refuses before it works: families, ops, cases, formats and flags that nothing would read", () => {
    const refused = (...args: string[]) => {
      const { status, stdout, stderr } = compile(args);
      expect([args, status, stdout]).toEqual([args, 2, ""]);
      return stderr;
    };
    expect(refused("--family", "navi99")).toMatch(/^error: there is no family "navi99"; there are all, navi31, navi21, .*, m1, m2 /);
    expect(refused("--op", "nonsense")).toMatch(/^error: there is no op "nonsense"; there are matvec, matmul, /);
    expect(refused("--filter", "nonsense=1")).toMatch(/^error: no case's name contains "nonsense=1"/);
    expect(refused("--config", "1b", "--weights", "q5")).toMatch(/Allowed choices are bf16, f16, f32, q8, q4/);
    expect(refused("--weights", "q4")).toMatch(/--weights is of a model: give --config too/);
    expect(refused("--token")).toMatch(/--token is of a model: give --config too/);
    expect(refused("--size", "16")).toMatch(/--size is of files: give --wgsl too/);
    expect(refused("--size", "0", "--wgsl", "x")).toMatch(/positive whole number/);
    expect(refused("--tighten", "--op", "matmul")).toMatch(/--tighten compiles everything/);
    writeFileSync(join(folder, "none.wgsl"), "// @compute fn f() {}\nfn g() {}\n");
    expect(refused("--wgsl", "none.wgsl")).toMatch(/"none\.wgsl" has no @compute entry point/);
  });

  it("names files that are not there, or not what they should be", () => {
    const failed = (...args: string[]) => {
      const { status, stdout, stderr } = compile(args);
      expect([args, status, stdout]).toEqual([args, 1, ""]);
      return stderr;
    };
    expect(failed("--wgsl", "gone.wgsl")).toBe(
      'internvl: bad-input: cannot read "gone.wgsl": there is no such file (check the path and the file\'s rights)',
    );
    expect(failed("--config", "gone.json")).toMatch(/^internvl: bad-input: cannot read "gone\.json": there is no such file/);
    writeFileSync(join(folder, "odd.json"), "{}");
    expect(failed("--config", "odd.json")).toMatch(/^internvl: bad-weights: /);
    expect(failed("--vs", "ort", "--config", "1b")).toMatch(/^internvl: bad-input: onnxruntime-node does not load from .* \(npm install/);
  });

  it("says what is missing where it cannot be built, or what cannot be fetched", () => {
    if (process.platform !== "linux" || process.arch !== "x64") {
      expect(compile(["--config", "1b"]).stderr).toMatch(
        /missing-feature: GPUs' compilers run on Linux x64, this is .* \(use such a machine, or a container/,
      );
      return;
    }
    const poor = compile(["--config", "1b"], { PATH: folder });
    expect([poor.status, poor.stdout]).toEqual([1, ""]);
    expect(poor.stderr).toMatch(/missing-feature: .* there is no C compiler here \(apt-get install gcc libc6-dev/);
    if (!existsSync("/usr/bin/gcc") || !existsSync("/usr/bin/apt-get") || !existsSync("/usr/include/vulkan/vulkan.h")) return;
    const cut = compile(["--family", "m1", "--config", "1b"], { http_proxy: "http://127.0.0.1:9", https_proxy: "http://127.0.0.1:9" });
    expect([cut.status, cut.stdout]).toEqual([1, ""]);
    expect(cut.stderr).toMatch(/network: Mesa could not be fetched from http\S+: .* \(check the connection to Debian's mirror/);
    expect(existsSync(join(folder, "cache/internvl-webgpu/gpu-compiler/mesa-newer"))).toBe(false); // whole or not at all
  });
});
