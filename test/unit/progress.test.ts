import { describe, expect, it } from "vitest";
import type { Progress } from "../../src/index.ts";
import { durationText, loadProgress } from "../../tools/cli/progress.ts";

/** A download of 7.4 GB at 50 MB/s, a report each second, seen on a terminal or in a log. */
function show(isTTY: boolean): string[] {
  const lines: string[] = [];
  let time = 1000;
  const report = loadProgress({ isTTY, write: (text) => lines.push(text) }, () => time);
  const total = 7_400_000_000;
  report({ phase: "resolve", loaded: 0, total: 1 });
  report({ phase: "resolve", loaded: 1, total: 1 });
  for (let loaded = 0; loaded <= total; loaded += 50_000_000) {
    report({ phase: "download", loaded, total, file: "model-00001-of-00002.safetensors" });
    time += 1000;
  }
  for (const phase of ["verify", "upload", "compile", "ready"] as const) report({ phase, loaded: total, total } satisfies Progress);
  return lines;
}

describe("the progress of a load", () => {
  it("on a terminal replaces its line and tells bytes, rate and remaining time", () => {
    const lines = show(true);
    expect(lines.every((line) => line.startsWith("\r\u001b[K") || line.endsWith("\n"))).toBe(true);
    expect(lines).toContain("\r\u001b[Kdownloading model-00001-of-00002.safetensors: 1000.0 of 7400.0 MB, 50.0 MB/s, 2 min 8 s left");
    expect(lines).toContain("downloaded and checked 7400.0 MB in 2 min 29 s\n");
    expect(lines.at(-1)).toBe("\r\u001b[K");
  });

  it("in a log is a line every ten seconds and one at the end", () => {
    const lines = show(false);
    expect(lines).toHaveLength(16);
    expect(lines[0]).toBe("downloading model-00001-of-00002.safetensors: 500.0 of 7400.0 MB, 50.0 MB/s, 2 min 18 s left\n");
    expect(lines.at(-2)).toBe("downloading model-00001-of-00002.safetensors: 7400.0 of 7400.0 MB, 50.0 MB/s\n");
    expect(lines.at(-1)).toBe("downloaded and checked 7400.0 MB in 2 min 29 s\n");
  });

  it("without a download says nothing in a log", () => {
    const lines: string[] = [];
    const report = loadProgress({ write: (text) => lines.push(text) });
    for (const phase of ["resolve", "upload", "compile", "ready"] as const) report({ phase, loaded: 1, total: 1 });
    expect(lines).toEqual([]);
  });

  it("of an untold length is a line every ten seconds too, and says what was not checked", () => {
    const lines: string[] = [];
    let time = 0;
    const report = loadProgress({ write: (text) => lines.push(text) }, () => time);
    for (let loaded = 0; loaded <= 25e6; loaded += 1e5, time += 100) report({ phase: "download", loaded, total: loaded });
    report({ phase: "verify", loaded: 25e6, total: 25e6, note: "checked by length only" });
    expect(lines).toEqual([
      "downloading: 10.0 MB, 1.0 MB/s\n",
      "downloading: 20.0 MB, 1.0 MB/s\n",
      "downloaded 25.0 MB in 26 s, checked by length only\n",
    ]);
  });

  it("tells durations as people do", () => {
    expect([0.2, 59, 60, 200, 3600, 9000].map(durationText)).toEqual(["1 s", "59 s", "1 min 0 s", "3 min 20 s", "1 h 0 min", "2 h 30 min"]);
  });
});
