import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { parseHeader } from "../../src/safetensors/index.ts";
import { type Ended, HELD_WRITES, hostedCli } from "../shared/cli.ts";
import { fixture, pathOf, syntheticFile } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");
const nano = pathOf("weights/nano");
const tinyConfig = pathOf("test/fixtures/tiny/tiny-qwen/config.json");
const folder = mkdtempSync(join(tmpdir(), "internvl-formats-"));
afterAll(() => rmSync(folder, { recursive: true }));

const host = hostedCli();
afterAll(() => host.close());
const internvl = (...args: string[]): Promise<Ended> => host.run(args, folder);

/** Starts a command that makes the folder `name` and kills it once it has a file in its hidden folder; how to list the hidden ones. */
async function killedHalfway(name: string, args: string[]): Promise<() => string[]> {
  const child = spawn(process.execPath, [main, ...args], { stdio: "ignore", cwd: folder, env: { ...process.env, ...HELD_WRITES } });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const left = () => readdirSync(folder).filter((each) => each.startsWith(`.${name}.partial-`));
  while (!left().some((each) => readdirSync(join(folder, each)).length > 0)) {
    if (child.exitCode !== null) throw new Error(`${args[0]} ended with ${child.exitCode} before it could be killed`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill("SIGKILL");
  await ended;
  return left;
}

interface Inspected {
  config: { language: { layers: number }; tokensPerTile: number };
  parameters: number;
  totals: { tensors: number; bytes: number };
  tensors: { name: string; dtype: string; shape: number[]; bytes: number; shard: string }[];
  metadata: Record<string, string>;
  quantization?: { format: string };
  licences: string;
  verified?: { files: number; tensors: number; bytes: number };
}

describe("internvl inspect", () => {
  it("tells config, tensors, totals and licences", async () => {
    const { status, stdout, stderr } = await internvl("inspect", nano, "--verify", "--json");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const report = JSON.parse(stdout) as Inspected;
    expect(report.config).toMatchObject({ language: { layers: 4 }, tokensPerTile: 16 });
    expect(report.totals).toMatchObject({ tensors: 117, bytes: 9757312 });
    expect(report.parameters).toBe(9757312 / 2);
    expect(report.verified).toEqual({ files: 1, tensors: 117, bytes: 9757312 });
    expect(report.tensors.find(({ name }) => name === "language_model.lm_head.weight")).toEqual({
      name: "language_model.lm_head.weight",
      dtype: "BF16",
      shape: [1056, 256],
      bytes: 540672,
      shard: "model.safetensors",
    });
    expect(report.licences).toMatch(/MIT.*Qwen2\.5-3B.*publisher/);
    const text = await (await internvl("inspect", nano)).stdout;
    expect(text).toContain("vision_model.embeddings.patch_embedding.weight");
    expect(text).toContain(report.licences);
  });

  it("--verify refuses tensors that are not the config's, and values that are no numbers", async () => {
    const config = parseConfig(fixture("tiny/tiny-qwen/config.json"));
    const write = async (name: string, change: (bytes: Uint8Array) => Uint8Array) => {
      const { writeFile, mkdir } = await import("node:fs/promises");
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, "config.json"), fixture("tiny/tiny-qwen/config.json"));
      await writeFile(join(folder, name, "model.safetensors"), change(syntheticFile(checkpointTensors(config), 0)));
    };
    await write("extra", () => syntheticFile([...checkpointTensors(config), { name: "lost", shape: [2] }], 0));
    expect(await internvl("inspect", "extra", "--verify")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/bad-weights: .*"lost".*config/),
    });
    expect((await internvl("inspect", "extra")).status).toBe(0);
    await write("nan", (bytes) => {
      const { tensors } = parseHeader(bytes, bytes.length, "nan");
      bytes.set([0xc0, 0x7f], tensors.get("mlp1.1.weight")!.begin + 20);
      return bytes;
    });
    expect((await internvl("inspect", "nan", "--verify")).stderr).toMatch(/bad-weights: .*"mlp1\.1\.weight" holds 1 infinities or NaN/);
    await write("short", (bytes) => bytes);
    truncateSync(join(folder, "short/model.safetensors"), 2_000_000);
    expect((await internvl("inspect", "short")).stderr).toMatch(/bad-weights: .*damaged or incomplete/);
  });
});

describe("internvl synth", () => {
  it("writes shards and index by the rule, and refuses to overwrite", async () => {
    const out = join(folder, "synth");
    const args = ["synth", "--config", tinyConfig, "--seed", "7", "--shard-size", "1MB", "--tokenizer", nano, "--out", out];
    const { status, stdout } = await internvl(...args, "--json");
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ tensors: 91, bytes: 2288000 });
    const index = JSON.parse(readFileSync(join(out, "model.safetensors.index.json"), "utf8")) as { weight_map: Record<string, string> };
    const whole = syntheticFile(checkpointTensors(parseConfig(fixture("tiny/tiny-qwen/config.json"))), 7);
    const expected = parseHeader(whole, whole.length, "whole").tensors;
    expect(Object.keys(index.weight_map)).toHaveLength(91);
    const shards = new Map([...new Set(Object.values(index.weight_map))].map((name) => [name, readFileSync(join(out, name))]));
    expect([...shards.keys()]).toEqual([1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`));
    for (const bytes of shards.values()) {
      for (const [name, { begin, end }] of parseHeader(bytes, bytes.length, "shard").tensors) {
        const want = expected.get(name)!;
        expect(bytes.subarray(begin, end).equals(whole.subarray(want.begin, want.end)), name).toBe(true);
      }
    }
    expect(existsSync(join(out, "tokenizer.json"))).toBe(true);
    const again = await internvl(...args);
    expect(again).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(/^internvl: bad-input: .*exists already/) });
  });

  it("leaves nothing with the folder's name when killed, and a later run clears what was left", async () => {
    const out = join(folder, "killed");
    const args = ["synth", "--config", pathOf("test/fixtures/internvl2_5-4b.config.json"), "--out", out];
    const left = await killedHalfway("killed", args);
    expect(existsSync(out)).toBe(false);
    expect(left()).toHaveLength(1);
    expect((await internvl("synth", "--config", tinyConfig, "--out", out)).status).toBe(0);
    expect(left()).toEqual([]);
    expect(existsSync(join(out, "model.safetensors"))).toBe(true);
  });
});

describe("internvl convert", () => {
  interface Report {
    sourceBytes: number;
    bytes: number;
    tensors: { name: string; from: string; to: string; bytes: number; nmse: number }[];
  }
  let report: Report;
  beforeAll(async () => {
    const { status, stdout, stderr } = await internvl("convert", "--model", nano, "--out", "q4", "--to", "q4", "--json");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    report = JSON.parse(stdout) as Report;
  });

  it("reports bytes and error of every tensor", async () => {
    expect(report.tensors).toHaveLength(117);
    expect(report.sourceBytes).toBe(9757312);
    expect(report.bytes).toBeLessThan(0.32 * report.sourceBytes);
    for (const { name, to, nmse } of report.tensors) {
      expect(nmse, name).toBeLessThan(1e-2);
      expect(nmse > 0, name).toBe(to === "q4");
    }
    const patch = report.tensors.find(({ name }) => name.includes("patch_embedding.weight"));
    expect(patch).toMatchObject({ to: "BF16", nmse: 0 }); // rows of 588 are not whole groups
  });

  it("gives a checkpoint that inspect verifies, with source, licence and format", async () => {
    const inspected = JSON.parse((await internvl("inspect", "q4", "--verify", "--json")).stdout) as Inspected;
    expect(inspected.quantization).toMatchObject({ format: "q4", group_size: 32 });
    expect(inspected.totals.bytes).toBe(report.bytes);
    expect(inspected.parameters).toBe(9757312 / 2);
    const sha256 = createHash("sha256")
      .update(readFileSync(join(nano, "model.safetensors")))
      .digest("hex");
    expect(inspected.metadata.source_sha256).toBe(`${sha256}  model.safetensors`);
    expect(inspected.metadata.licence).toContain("MIT");
  });

  it("answers with the ids of weights that were quantised while loading", async () => {
    const ask = async (...args: string[]) => {
      const { stdout, stderr } = await internvl("chat", ...args, "--json", "--image", `${nano}/images/card-1.png`, "What shape is it?");
      if (!stdout) throw new Error(stderr);
      return (JSON.parse(stdout) as { tokenIds: number[] }).tokenIds;
    };
    expect(await ask("--model", "q4")).toEqual(await ask("--weights", "q4"));
  });

  it("refuses to overwrite, to convert twice, and to load as what it is not", async () => {
    expect((await internvl("convert", "--model", nano, "--out", "q4", "--to", "q8")).stderr).toMatch(
      /^internvl: bad-input: "q4" exists already/,
    );
    expect((await internvl("convert", "--model", "q4", "--out", "twice", "--to", "q8")).stderr).toMatch(
      /^internvl: bad-input: .*q4.*can be converted/,
    );
    expect(existsSync(join(folder, "twice"))).toBe(false);
    const asked = await internvl("chat", "--model", "q4", "--weights", "bf16", "What?");
    expect(asked.stderr).toMatch(/^internvl: bad-input: the checkpoint holds .* in q4, asked was bf16/);
    await cp(join(folder, "q4"), join(folder, "moved"), { recursive: true });
    truncateSync(join(folder, "moved/model.safetensors"), 1_000_000);
    expect((await internvl("chat", "--model", "moved", "What?")).stderr).toMatch(/^internvl: bad-weights/);
  });

  it("leaves nothing with the folder's name when killed", async () => {
    await killedHalfway("slain", ["convert", "--model", nano, "--out", "slain", "--to", "q8"]);
    expect(existsSync(join(folder, "slain"))).toBe(false);
  });
});
