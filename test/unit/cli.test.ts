import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");
const images = pathOf("weights/nano/images");
const folder = mkdtempSync(join(tmpdir(), "internvl-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

// Told at the program's end: what it has open of the model's files. Node closes those later, with a warning, when it happens to look.
const leaks = join(folder, "leaks.mjs");
writeFileSync(
  leaks,
  `import { readdirSync, readlinkSync } from "node:fs";
  process.on("exit", () => {
    for (const fd of readdirSync("/proc/self/fd")) {
      let path = "";
      try { path = readlinkSync("/proc/self/fd/" + fd); } catch {} // the folder's own
      if (path.endsWith(".safetensors")) process.stderr.write("left open: " + path + "\\n");
    }
  });`,
);

function internvl(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", leaks, main, ...args], {
    encoding: "utf8",
    cwd: folder,
    env: { ...process.env, INTERNVL_ORT: folder }, // nothing is installed there
  });
  // lavapipe makes Dawn itself warn about limits; that is not ours to tell
  const own = stderr.split("\n").filter((line) => line && !line.startsWith("Warning: max"));
  return { status, stdout, stderr: own.join("\n") };
}

describe("internvl", () => {
  it("chat answers on stdout and says nothing else", () => {
    expect(internvl("chat", "--image", `${images}/card-1.png`, "What shape is it?")).toEqual({
      status: 0,
      stdout: "A triangle.\n",
      stderr: "",
    });
  });

  it("chat --json prints one object", () => {
    const { status, stdout } = internvl("chat", "--json", "--image", `${images}/card-1.png`, "What shape is it?");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      text: "A triangle.",
      tokenIds: [32, 334, 13, 1002],
      usage: { promptTokens: 42, completionTokens: 4 },
    });
  });

  it("chat takes how to generate: a stop string, a seed", () => {
    const ask = (...flags: string[]) => internvl("chat", "--json", "--image", `${images}/card-1.png`, "What shape is it?", ...flags);
    const stopped = JSON.parse(ask("--stop", "angle", "--stop", "never").stdout) as object;
    expect(stopped).toMatchObject({ text: "A tri", finishReason: "stop" });
    const drawn = [
      "--temperature",
      "1.5",
      "--top-p",
      "0.9",
      "--top-k",
      "40",
      "--min-p",
      "0.01",
      "--repetition-penalty",
      "1.1",
      "--seed",
      "7",
    ];
    expect(JSON.parse(ask(...drawn, "--max-tokens", "2").stdout)).toMatchObject({ seed: 7, usage: { completionTokens: 2 } });
    expect(ask("--top-p", "2")).toMatchObject({ status: 1, stderr: expect.stringMatching(/^internvl: bad-input: topP is 2/) });
  });

  it("batch: a bad line fails alone, and a second run goes on where the first ended", () => {
    const input = join(folder, "in.jsonl");
    const output = join(folder, "out.jsonl");
    const good = { id: "a", turns: ["What shape is it?"], images: [`${images}/card-1.png`] };
    writeFileSync(
      input,
      [JSON.stringify(good), "{", JSON.stringify({ ...good, id: "b", images: ["nope.png"] }), JSON.stringify({ ...good, id: "c" })].join(
        "\n",
      ),
    );
    expect(internvl("batch", input, "-o", output)).toMatchObject({ status: 0, stdout: "" });
    const lines = () =>
      readFileSync(output, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines()).toMatchObject([
      { id: "a", answers: ["A triangle."], tokenIds: [[32, 334, 13, 1002]] },
      { id: 2, error: { code: "bad-input" } },
      { id: "b", error: { code: "bad-input" } },
      { id: "c", answers: ["A triangle."] },
    ]);
    const whole = readFileSync(output, "utf8");
    writeFileSync(output, whole.slice(0, whole.indexOf("\n") + 20)); // an earlier run, killed in its second line
    expect(internvl("batch", input, "-o", output).stderr).toContain("1 of them done before");
    expect(readFileSync(output, "utf8")).toBe(whole);
  });

  it("ends quietly when nobody reads on", () => {
    // `true` is gone before the first line comes.
    const command = `"${process.execPath}" "${main}" inspect "${pathOf("weights/nano")}" | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", command], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
  });

  it("doctor --json lists adapters and limits", () => {
    const report = JSON.parse(internvl("doctor", "--json").stdout) as { adapters: string[]; limits: Record<string, number> };
    expect(report.adapters.length).toBeGreaterThan(0);
    expect(report.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
  });

  it.each([
    [
      "a missing picture",
      ["chat", "--image", "nope.png", "What?"],
      1,
      /^internvl: bad-input: cannot read "nope\.png": there is no such file/,
    ],
    ["a missing model", ["chat", "--model", "nope", "What?"], 1, /^internvl: bad-input: there is no folder "nope"/],
    ["a missing input", ["batch", "nope.jsonl"], 1, /^internvl: bad-input: cannot read "nope\.jsonl"/],
    ["a missing adapter", ["chat", "--adapter", "voodoo", "What?"], 1, /^internvl: no-adapter: .*voodoo/],
    ["a wrong flag", ["chat", "--wrong", "What?"], 2, /unknown option '--wrong'/],
    ["a temperature that is no number", ["chat", "--temperature", "warm", "What?"], 2, /must be a number/],
    ["a wrong number", ["chat", "--max-tokens", "many", "What?"], 2, /must be a positive whole number/],
    ["an op that there is not", ["kernels", "test", "--op", "nope"], 2, /there is no op "nope"; there are matvec, matmul/],
    ["a filter that matches nothing", ["kernels", "test", "--filter", "nope"], 2, /no case's name contains "nope"/],
    ["a peer that is not there", ["bench", "--vs", "ort"], 1, /^internvl: bad-input: onnxruntime-node does not load from .*npm install/],
    ["a peer that nobody knows", ["bench", "--vs", "voodoo"], 2, /Allowed choices are ort/],
    [
      "an id that the model does not have",
      ["bench", "--prompt-ids", "1,1056"],
      1,
      /^internvl: bad-input: .* the id 1056, this model has 1056/,
    ],
    ["ids that are none", ["bench", "--prompt-ids", "1,,2"], 2, /must be whole numbers, separated by commas/],
    ["a wrong command", ["chant"], 2, /unknown command 'chant'/],
  ] as const)("%s ends with a line and an exit code", (_, args, code, message) => {
    const { status, stdout, stderr } = internvl(...args);
    expect(status).toBe(code);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    if (code === 1) expect(stderr.split("\n")).toHaveLength(1);
  });
});
