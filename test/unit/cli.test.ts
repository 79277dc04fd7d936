import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type Ended, hostedCli } from "../shared/cli.ts";
import { pathOf } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");
const images = pathOf("weights/nano/images");
const nano = pathOf("weights/nano");
const large = pathOf("test/fixtures/internvl2_5-78b.config.json");
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

const env = { INTERNVL_ORT: folder, HF_HOME: folder, XDG_CACHE_HOME: folder }; // nothing lies there
const host = hostedCli(env);
afterAll(() => host.close());
const internvl = (...args: string[]): Promise<Ended> => host.run(args, folder);

/** The same in a process of its own. */
function alone(...args: string[]): Ended {
  const program = ["--import", leaks, main, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, program, {
    encoding: "utf8",
    cwd: folder,
    env: { ...process.env, ...env },
  });
  const own = stderr.split("\n").filter((line) => line && !line.startsWith("Warning: max"));
  return { status, stdout, stderr: own.join("\n") };
}

describe("internvl", () => {
  it("chat answers on stdout and says nothing else, but that a toy answers where no model is named", async () => {
    const args = ["chat", "--image", `${images}/card-1.png`, "What shape is it?"];
    expect(alone(...args, "--model", nano, "--kv", "f32", "--stats")).toEqual({
      status: 0,
      stdout: "A triangle.\n",
      stderr: expect.stringMatching(/^prompt 42 tokens, first token after .* s; answer 4 tokens in .* tokens\/s$/),
    });
    const toy = /^no --model: the embedded toy model answers \(.*\); a real one: --model OpenGVLab\/InternVL2_5-1B$/;
    expect(await internvl(...args)).toEqual({ status: 0, stdout: "A triangle.\n", stderr: expect.stringMatching(toy) });
  });

  it("chat --system stands in the prompt, and in what --save keeps", async () => {
    const kept = join(folder, "kept.json");
    const ask = async (...flags: string[]) =>
      (JSON.parse((await internvl("chat", "--json", "What shape is it?", ...flags)).stdout) as { promptTokenIds: number[] }).promptTokenIds;
    const plain = await ask();
    const short = await ask("--system", "Be short.", "--save", kept);
    expect(short).not.toEqual(plain);
    const { messages } = JSON.parse(readFileSync(kept, "utf8")) as { messages: object[] };
    expect(messages[0]).toEqual({ role: "system", content: "Be short." });
    expect((await ask("--load", kept)).slice(0, short.length - 1)).toEqual(short.slice(0, -1));
  });

  it("chat --json prints one object", async () => {
    const { status, stdout } = await internvl("chat", "--json", "--image", `${images}/card-1.png`, "What shape is it?");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      text: "A triangle.",
      tokenIds: [32, 334, 13, 1002],
      usage: { promptTokens: 42, completionTokens: 4 },
    });
  });

  it("chat takes how to generate: a stop string, a seed", async () => {
    const ask = async (...flags: string[]) =>
      JSON.parse((await internvl("chat", "--json", "--image", `${images}/card-1.png`, "What shape is it?", ...flags)).stdout) as object;
    const stopped = await ask("--stop", "angle", "--stop", "never");
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
      "--presence-penalty",
      "0.5",
      "--frequency-penalty",
      "-0.5",
      "--logit-bias",
      "40:-1.5",
      "--logit-bias",
      "41:2",
      "--seed",
      "7",
    ];
    expect(await ask(...drawn, "--max-tokens", "2")).toMatchObject({ seed: 7, usage: { completionTokens: 2 } });
  });

  it("chat holds an answer to a schema, from a file too, and to a regular expression", async () => {
    const schema = { type: "object", properties: { sides: { enum: [3, 4] } }, required: ["sides"] };
    writeFileSync(join(folder, "schema.json"), JSON.stringify(schema));
    const ask = async (...flags: string[]) =>
      (await internvl("chat", "--image", `${images}/card-1.png`, "What shape is it?", ...flags)).stdout;
    expect(await ask("--schema", JSON.stringify(schema))).toMatch(/^\{"sides": [34]\}\n$/);
    expect(await ask("--schema", "schema.json")).toMatch(/^\{"sides": [34]\}\n$/);
    expect(await ask("--regex", "A (square|triangle)!")).toBe("A triangle!\n");
  });

  it("chat reads a pipe once, takes a file's address, and skips what macOS leaves in a folder of frames", async () => {
    const card = `${images}/card-1.png`;
    const ask = (command: string) => spawnSync("bash", ["-c", command], { encoding: "utf8", cwd: folder });
    const chat = `"${process.execPath}" "${main}" chat`;
    expect(ask(`${chat} --image <(cat "${card}") "What shape is it?"`).stdout).toBe("A triangle.\n");
    expect((await internvl("chat", "--image", `file://${card}`, "What shape is it?")).stdout).toBe("A triangle.\n");
    mkdirSync(join(folder, "frames/thumbs.png"), { recursive: true });
    copyFileSync(card, join(folder, "frames/1.png"));
    writeFileSync(join(folder, "frames/._1.png"), "AppleDouble");
    const { stdout } = await internvl("chat", "--json", "--video", "frames", "What shape is it?");
    expect(JSON.parse(stdout)).toMatchObject({ text: "A triangle." });
  });

  it("chat takes questions from a pipe, and fails in the end where one could not be answered", () => {
    const args = [main, "chat", "--image", `${images}/card-1.png`];
    const ask = (input: string) => spawnSync(process.execPath, args, { encoding: "utf8", input });
    expect(ask("What shape is it?\n\n/tokens\nWhat color is it?")).toMatchObject({
      status: 0,
      stdout: "A triangle.\nRed.\n",
      stderr: expect.stringMatching(/ of 2048, 16 of them visual;/), // the picture counts once
    });
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

  it("inspect takes --adapter as every command does", async () => {
    expect((await internvl("inspect", pathOf("weights/nano"), "--json", "--adapter", "none")).status).toBe(0);
  });

  it("ends quietly when nobody reads on", () => {
    // `true` is gone before the first line comes.
    const command = `"${process.execPath}" "${main}" inspect "${pathOf("weights/nano")}" | true; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", command], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
  });

  it("doctor says how GPUs of one name are told apart", async () => {
    const { stdout } = await internvl("doctor", "--verbose");
    expect(stdout).toMatch(/cannot be told apart within a process/);
    if (process.platform === "linux") expect(stdout).toMatch(/DRI_PRIME=pci-.*MESA_VK_DEVICE_SELECT=list/);
  });

  it("--devices splits a model over adapters, and what is wrong with them is said before anything is loaded", async () => {
    const { adapter } = JSON.parse((await internvl("doctor", "--json")).stdout) as { adapter: string };
    const part = (process.env.INTERNVL_ADAPTER || adapter).replace(/[^\w].*$/, "");
    const answer = alone("chat", "--devices", `${part}, ${part}`, "--split", "3,1", "--image", `${images}/card-1.png`, "What shape is it?");
    expect(answer).toMatchObject({ status: 0, stdout: "A triangle.\n" });
    for (const [flags, message] of [
      [["--devices", "a,,b"], "parts of adapters' names"],
      [["--devices", "a,b", "--adapter", "c"], "--devices is in place of --adapter"],
      [["--devices", "a,b", "--split", "1"], "--split needs a number for each of --devices"],
      [["--split", "1,2"], "--split needs a number for each of --devices"],
      [["--devices", "a,b", "--split", "1,0"], "numbers above 0"],
    ] as const) {
      for (const command of message === "parts of adapters' names" ? ["chat", "batch", "serve", "bench"] : ["serve"]) {
        const { status, stdout, stderr } = await internvl(command, ...(command === "batch" ? ["none.jsonl"] : []), ...flags);
        expect([status, stdout], `${command} ${flags}`).toEqual([2, ""]);
        expect(stderr).toContain(message);
      }
    }
    const none = await internvl("chat", "--devices", `${part},no-such-adapter`, "Hello?");
    expect([none.status, none.stderr]).toEqual([1, expect.stringContaining("no-such-adapter")]);
  });

  it("doctor lists adapters and limits, the machine's memory, and which sizes of the family fit", async () => {
    interface Report {
      adapters: string[];
      kind: string;
      mobile: boolean;
      limits: Record<string, number>;
      memory: { total: number; available: number };
      models: { bytes: number; fits: boolean }[];
    }
    const report = JSON.parse((await internvl("doctor", "--json")).stdout) as Report;
    expect(report.adapters.length).toBeGreaterThan(0);
    expect(report.mobile).toBe(false);
    expect(report.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
    expect(report.memory.total).toBeGreaterThanOrEqual(report.memory.available);
    if (report.kind === "cpu") for (const { bytes, fits } of report.models) expect(fits).toBe(bytes <= report.memory.available);
    const { stdout } = alone("doctor", "--verbose");
    expect(stdout).toMatch(/^Node v\S+ on \S+, \d+\.\d GiB of memory, \d+\.\d GiB free\n/);
    expect(stdout).toMatch(/^ {2}InternVL2_5-4B +7\.8 GiB (fits|no) +4\.6 GiB (fits|no) +2\.8 GiB (fits|no)/m);
    expect(stdout).toMatch(/^what Dawn says: /m);
    expect((await internvl("inspect", nano)).stdout).toMatch(
      /memory +0\.\d GiB in bf16, .* in q4 on the GPU, of that .* for a context of \d+ tokens/,
    );
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
    ["a video as a picture", ["chat", "--image", "clip.png", "What?"], 1, /"clip\.png" is a video, not a picture .*--video/],
    ["a video that is damaged", ["chat", "--video", "clip.png", "What?"], 1, /bad-image: .*video/],
    [
      "a picture as a video",
      ["chat", "--video", `${images}/card-1.png`, "What?"],
      1,
      /bad-image: the video is a picture \(Give it as an image\.\)/,
    ],
    ["a video from a pipe", ["chat", "--video", "-", "What?"], 2, /--video - is not taken/],
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
    ["a schema that is none", ["chat", "--schema", "[1]", "hi"], 2, /must be a JSON Schema, \{…\}, or a file with one: ENOENT/],
    ["a schema that is cut", ["chat", "--schema", '{"type":', "hi"], 2, /It is not JSON/],
    ["a schema in a picture", ["batch", "--schema", "cut.png", "in.jsonl"], 2, /It is not JSON/],
    [
      "a schema that cannot be held",
      ["chat", "--schema", '{"type":"array","uniqueItems":true}', "hi"],
      2,
      /has uniqueItems, which cannot be/,
    ],
    ["a regular expression that is none", ["chat", "--regex", "(", "hi"], 2, /Invalid regular expression/],
    ["a regular expression that looks ahead", ["batch", "--regex", "(?=a)", "in.jsonl"], 2, /looks ahead/],
    ["a schema and a regular expression", ["chat", "--schema", "{}", "--regex", "a", "hi"], 2, /cannot be used with option/],
    ["a bias of nothing", ["chat", "--logit-bias", "x:1", "hi"], 2, /token ids as its keys/],
    ["a penalty too large", ["chat", "--presence-penalty", "3", "hi"], 2, /It must be a number from -2 to 2/],
    ["a share of everything", ["batch", "in.jsonl", "--min-p", "1.5"], 2, /It must be a number from 0 to 1/],
    ["half a token", ["chat", "--top-k", "1.5", "What?"], 2, /It must be an integer from 0/],
    ["an empty stop", ["chat", "--stop", "", "What?"], 2, /none of them empty/],
    ["more tiles than there are", ["chat", "--max-tiles", "41", "What?"], 2, /It must be at most 40/],
    ["seconds of a folder", ["chat", "--video", ".", "--bound", "1:2", "What?"], 2, /--bound is of a video file/],
    ["seconds of nothing", ["chat", "--bound", "1:2", "What?"], 2, /--bound needs a --video/],
    ["seconds that run back", ["chat", "--video", ".", "--bound", "5:2", "What?"], 2, /It must be two seconds, the smaller first/],
    ["a picture from stdin in an interactive chat", ["chat", "--image", "-"], 2, /--image - needs a question/],
    ["two pictures from stdin", ["chat", "--image", "-", "--image", "-", "What?"], 2, /--image - can be given once/],
    ["nothing on stdin", ["chat", "--image", "-", "What?"], 1, /nothing was piped in/],
    ["a pattern that matches nothing", ["chat", "--image", "none*.png", "What?"], 1, /"none\*\.png" matches no file/],
    ["a conversation that is none", ["chat", "--load", "cut.png", "What?"], 1, /"cut\.png" is no conversation that can be read/],
    ["a file that would be lost", ["chat", "--save", "cut.png", "What?"], 1, /"cut\.png" exists and is no conversation/],
    ["frames of nothing", ["chat", "--frames", "8", "What?"], 2, /--frames needs a --video/],
    ["no frames", ["chat", "--video", ".", "--frames", "1e9", "What?"], 2, /It must be at most 1024/],
    ["special tokens that are none", ["chat", "--special-tokens", "yes", "What?"], 2, /Allowed choices are text, parse/],
    ["keys in a format that is none", ["chat", "--kv", "f8", "What?"], 2, /Allowed choices are auto, f16, f32/],
    [
      "more pixels than are allowed",
      ["chat", "--image", `${images}/card-1.png`, "--max-pixels", "9", "What?"],
      1,
      /or raise --max-pixels\.\)$/,
    ],
    ["a model from a file", ["chat", "--model", main, "What?"], 1, /main\.js" is a file, needs to be a model's folder/],
    ["a pull of a folder", ["pull", "./nano"], 2, /"\.\/nano" is neither org\/name nor a URL/],
    ["a pull of two revisions", ["pull", "a/b@v1", "--revision", "v2"], 2, /name two revisions/],
    ["a deletion of what is not there", ["rm", "a/b", "--yes"], 1, /^internvl: bad-input: the cache holds no "a\/b" \(it is empty\)$/],
    ["JSON without a question", ["chat", "--json"], 2, /--json needs a question/],
    ["a missing model", ["chat", "--model", "nope", "What?"], 1, /^internvl: bad-input: there is no folder "nope"/],
    ["a missing input", ["batch", "nope.jsonl"], 1, /^internvl: bad-input: cannot read "nope\.jsonl"/],
    [
      "a missing adapter",
      ["chat", "--adapter", "voodoo", "What?"],
      1,
      /^internvl: no-adapter: .*voodoo.*: --adapter "part of its name"\)$/,
    ],
    ["a wrong flag", ["chat", "--wrong", "What?"], 2, /unknown option '--wrong'[\s\S]*internvl chat --help/],
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
    ["layers of a model", ["bench", "--layers", "2"], 2, /--layers and --vision-layers are of --synthetic/],
    [
      "more layers than there are",
      ["bench", "--synthetic", large, "--layers", "81"],
      2,
      /--layers is 81, this configuration has 80 layers/,
    ],
    ["more vision layers", ["bench", "--synthetic", large, "--vision-layers", "46"], 2, /--vision-layers is 46, .* has 45 layers/],
    ["no layers", ["bench", "--synthetic", large, "--layers", "0"], 2, /must be a positive whole number/],
    [
      "q4 in another layout",
      ["convert", "--model", nano, "--out", "x", "--to", "q4", "--layout", "hf"],
      2,
      /--to q4 is this engine's own format/,
    ],
    [
      "a layout that there is not",
      ["convert", "--model", nano, "--out", "x", "--to", "bf16", "--layout", "gguf"],
      2,
      /choices are hf, upstream/,
    ],
    ["GGUF", ["convert", "--model", nano, "--out", "x", "--to", "gguf"], 2, /GGUF is llama\.cpp's own format/],
    ["a missing LoRA adapter", ["chat", "--lora", "nope", "What?"], 1, /there is no folder "nope" \(give .*adapter_config\.json/],
    ["devices and an adapter", ["chat", "--devices", "a,b", "--adapter", "a", "What?"], 2, /--devices is in place of --adapter/],
    ["a flag that is nearly one", ["kernels", "bench", "--opp", "norm"], 2, /unknown option '--opp' \(Did you mean --op\?\)/],
    ["a wrong command", ["chant"], 2, /unknown command 'chant'/],
  ] as const)("%s ends with a line and an exit code", async (_, args, code, message) => {
    const { status, stdout, stderr } = await internvl(...args);
    expect(status).toBe(code);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr.split("\n"), stderr).toHaveLength(1);
    const command = args[0] === "kernels" ? `kernels ${args[1]}` : args[0];
    const help = command === "chant" ? "(internvl --help lists what there is)" : `(internvl ${command} --help lists what it takes)`;
    if (code === 2) expect(stderr.endsWith(help)).toBe(true);
  });

  it("pictures and frames in one question go to their own markers", async () => {
    const swap = pathOf("test/fixtures/swap");
    const files = ["--image", `${swap}/wide-red.png`, "--image", `${swap}/tall-blue.png`, "--video", `${swap}/video`];
    const { promptTokenIds } = JSON.parse((await internvl("chat", "--json", ...files, "Compare.")).stdout) as { promptTokenIds: number[] };
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
