import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");
const images = pathOf("weights/nano/images");
const nano = pathOf("weights/nano");
const folder = mkdtempSync(join(tmpdir(), "internvl-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

writeFileSync(join(folder, "clip.png"), "\0\0\0\x18ftypisom\0\0\0\0");
writeFileSync(join(folder, "cut.png"), readFileSync(`${images}/card-1.png`).subarray(0, 300));

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
  });

  it("chat reads a pipe once, takes a file's address, and skips what macOS leaves in a folder of frames", () => {
    const card = `${images}/card-1.png`;
    const ask = (command: string) => spawnSync("bash", ["-c", command], { encoding: "utf8", cwd: folder });
    const chat = `"${process.execPath}" "${main}" chat`;
    expect(ask(`${chat} --image <(cat "${card}") "What shape is it?"`).stdout).toBe("A triangle.\n");
    expect(ask(`${chat} --image "file://${card}" "What shape is it?"`).stdout).toBe("A triangle.\n");
    mkdirSync(join(folder, "frames/thumbs.png"), { recursive: true });
    copyFileSync(card, join(folder, "frames/1.png"));
    writeFileSync(join(folder, "frames/._1.png"), "AppleDouble");
    const { stdout } = internvl("chat", "--json", "--video", "frames", "What shape is it?");
    expect(JSON.parse(stdout)).toMatchObject({ text: "A triangle." });
  });

  it("chat takes questions from a pipe, and fails in the end where one could not be answered", () => {
    const args = [main, "chat", "--image", `${images}/card-1.png`];
    const ask = (input: string) => spawnSync(process.execPath, args, { encoding: "utf8", input });
    expect(ask("What shape is it?\n\nWhat color is it?")).toMatchObject({ status: 0, stdout: "A triangle.\nRed.\n" });
    expect(ask("<image> <image> What?\nWhat shape is it?\n")).toMatchObject({
      status: 1,
      stdout: "A triangle.\n",
      stderr: expect.stringMatching(/internvl: bad-input: .*placeholder/),
    });
  });

  it("a full disk is one line, on stdout too", () => {
    const command = `"${process.execPath}" "${main}" inspect "${pathOf("weights/nano")}" > /dev/full`;
    const { status, stderr } = spawnSync("bash", ["-c", command], { encoding: "utf8" });
    expect(stderr).toMatch(/^internvl: bad-input: .*no space is left on the disk[^\n]*\n$/);
    expect(status).toBe(1);
  });

  it("inspect takes --adapter as every command does", () => {
    expect(internvl("inspect", pathOf("weights/nano"), "--json", "--adapter", "none").status).toBe(0);
  });

  it("ends quietly when nobody reads on", () => {
    // `true` is gone before the first line comes.
    const command = `"${process.execPath}" "${main}" inspect "${pathOf("weights/nano")}" | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", command], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
  });

  it("doctor says how GPUs of one name are told apart", () => {
    const { stdout } = internvl("doctor");
    expect(stdout).toMatch(/cannot be told apart within a process/);
    if (process.platform === "linux") expect(stdout).toMatch(/DRI_PRIME=pci-.*MESA_VK_DEVICE_SELECT=list/);
  });

  it("--devices splits a model over adapters, and what is wrong with them is said before anything is loaded", () => {
    const adapter = process.env.INTERNVL_ADAPTER ?? "";
    const { name = "" } = { name: (JSON.parse(internvl("doctor", "--json").stdout) as { adapter: string }).adapter };
    const part = (adapter || name).replace(/[^\w].*$/, "");
    const answer = internvl(
      "chat",
      "--devices",
      `${part}, ${part}`,
      "--split",
      "3,1",
      "--image",
      `${images}/card-1.png`,
      "What shape is it?",
    );
    expect(answer).toEqual({ status: 0, stdout: "A triangle.\n", stderr: "" });
    for (const [flags, message] of [
      [["--devices", "a,,b"], "parts of adapters' names"],
      [["--devices", "a,b", "--adapter", "c"], "--devices is in place of --adapter"],
      [["--devices", "a,b", "--split", "1"], "--split needs a number for each of --devices"],
      [["--split", "1,2"], "--split needs a number for each of --devices"],
      [["--devices", "a,b", "--split", "1,0"], "numbers above 0"],
    ] as const) {
      for (const command of ["chat", "batch", "serve", "bench"]) {
        const { status, stdout, stderr } = internvl(command, ...(command === "batch" ? ["none.jsonl"] : []), ...flags);
        expect([status, stdout], `${command} ${flags}`).toEqual([2, ""]);
        expect(stderr).toContain(message);
      }
    }
    const none = internvl("chat", "--devices", `${part},no-such-adapter`, "Hello?");
    expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("no-such-adapter")]);
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
    ["a folder as a picture", ["chat", "--image", ".", "What?"], 1, /cannot read "\.": it is a folder, .*--video/],
    ["a text as a picture", ["chat", "--image", main, "What?"], 1, /bad-image: .*not a format known here(?!.*\{ data)/],
    ["a video as a picture", ["chat", "--image", "clip.png", "What?"], 1, /"clip\.png" is a video, not a picture .*ffmpeg/],
    ["a video as a folder", ["chat", "--video", "clip.png", "What?"], 1, /"clip\.png" is a file, a folder of frames is needed .*ffmpeg/],
    ["a damaged picture", ["chat", "--image", "cut.png", "What?"], 1, /^internvl: bad-image: "cut\.png": .*cut off/],
    ["a data URL that is none", ["chat", "--image", "data:nope", "What?"], 1, /^internvl: bad-input: "data:nope" is not a data URL/],
    ["a very long path", ["chat", "--image", "a".repeat(100_000), "What?"], 1, /"a{40}…" \(100000 characters\): the name is too long/],
    ["a very long value", ["chat", "--weights", "a".repeat(100_000), "What?"], 2, /^.{300,700} Allowed choices are/s],
    ["an output that exists", ["convert", "--model", "nope/nope", "--out", ".", "--to", "q4"], 1, /"\." exists already/],
    ["an output where no folder can be", ["convert", "--model", nano, "--out", "/proc/a/b", "--to", "q4"], 1, /cannot make "\/proc\/a\/b"/],
    ["a config that is not there", ["bench", "--synthetic", "nope.json"], 1, /cannot read "nope\.json": there is no such file/],
    ["a report where no folder can be", ["kernels", "test", "--out", "/proc/a/b"], 1, /cannot make "\/proc\/a"/],
    ["no model", ["chat", "--model", "", "What?"], 2, /--model is an empty text/],
    [
      "a revision of a folder",
      ["chat", "--model", nano, "--revision", "v1", "What?"],
      2,
      /--revision is of a model on Hugging Face, not of/,
    ],
    ["a revision that is none", ["chat", "--model", "a/b", "--revision", "../x", "What?"], 2, /is not a branch, tag or commit/],
    ["a temperature below 0", ["chat", "--temperature", "-1", "What?"], 2, /'-1' is invalid\. It must be a number from 0 to 100/],
    ["a share above 1", ["chat", "--top-p", "2", "What?"], 2, /'2' is invalid\. It must be a number above 0, up to 1/],
    ["a share of everything", ["batch", "in.jsonl", "--min-p", "1.5"], 2, /It must be a number from 0 to 1/],
    ["half a token", ["chat", "--top-k", "1.5", "What?"], 2, /It must be an integer from 0/],
    ["an empty stop", ["chat", "--stop", "", "What?"], 2, /none of them empty/],
    ["more tiles than there are", ["chat", "--max-tiles", "41", "What?"], 2, /It must be at most 40/],
    ["frames of nothing", ["chat", "--frames", "8", "What?"], 2, /--frames needs a --video/],
    ["no frames", ["chat", "--video", ".", "--frames", "1e9", "What?"], 2, /It must be at most 1024/],
    ["special tokens that are none", ["chat", "--special-tokens", "yes", "What?"], 2, /Allowed choices are text, parse/],
    ["JSON without a question", ["chat", "--json"], 2, /--json needs a question/],
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
    expect(stderr).not.toMatch(/\n\s+at /);
    if (code === 1) expect(stderr.split("\n")).toHaveLength(1);
  });

  it("pictures and frames in one question go to their own markers", () => {
    const swap = pathOf("test/fixtures/swap");
    const files = ["--image", `${swap}/wide-red.png`, "--image", `${swap}/tall-blue.png`, "--video", `${swap}/video`];
    const { promptTokenIds } = JSON.parse(internvl("chat", "--json", ...files, "Compare.").stdout) as { promptTokenIds: number[] };
    const [img, end, context, tokensPerTile] = [1022, 1023, 1024, 16]; // nano's
    const tiles: number[] = [];
    for (const id of promptTokenIds) {
      if (id === img) tiles.push(0);
      if (id === context) tiles[tiles.length - 1]! += 1 / tokensPerTile;
    }
    expect(promptTokenIds.filter((id) => id === end)).toHaveLength(4);
    expect(tiles).toEqual([1, 1, 5, 3]); // Frame1, Frame2, Image-1, Image-2
  });
});
