import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { convertWeights, inspect, verify } from "../../../src/convert.ts";
import { openWeights } from "../../../src/hub/open.ts";
import { openSource } from "../../../src/hub/source.ts";
import { InternVL } from "../../../src/index.ts";
import { encodeHeader } from "../../../src/safetensors/index.ts";
import { hubServer, temporaryFolder } from "../../hub-server.ts";
import { pathOf } from "../../support.ts";

// What failed has closed its files: else Node does, with a warning, when it happens to look.

const nano = pathOf("weights/nano");
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
function folder(): string {
  const { path, remove } = temporaryFolder();
  closing.push(remove);
  return path;
}

/** The files that this process has open below some folder. */
function openBelow(path: string): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const at = readlinkSync(`/proc/self/fd/${fd}`);
      return at.startsWith(path) ? [at] : [];
    } catch {
      return []; // the folder's own
    }
  });
}

const SMALL = ["config.json", "tokenizer.json", "tokenizer_config.json"];
const shard = (name: string) => Buffer.concat([encodeHeader([{ name, dtype: "U8", shape: [8] }]), Buffer.alloc(8)]);
const index = (map: Record<string, string>) => JSON.stringify({ weight_map: map });
const [ONE, TWO, INDEX] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"];
const SHARDS = { [INDEX]: index({ a: ONE, b: TWO }), [ONE]: shard("a"), [TWO]: shard("b") };

/** nano's small files beside others. */
function checkpoint(files: Record<string, Uint8Array | string>): string {
  const path = folder();
  for (const name of SMALL) writeFileSync(join(path, name), readFileSync(join(nano, name)));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content);
  return path;
}

const BROKEN: [string, () => string][] = [
  ["tensors that are others than the configuration's", () => checkpoint({ "model.safetensors": shard("a") })],
  ["shards that are others", () => checkpoint(SHARDS)],
  ["a file that is cut off", () => checkpoint({ "model.safetensors": shard("a").subarray(0, 60) })],
  ["a shard that is missing", () => checkpoint({ [INDEX]: SHARDS[INDEX]!, [ONE]: shard("a") })],
  ["a shard that is damaged", () => checkpoint({ ...SHARDS, [TWO]: Buffer.alloc(40, 255) })],
  ["a tensor in two shards", () => checkpoint({ ...SHARDS, [TWO]: shard("a") })],
  [
    "a shard that is a folder",
    () => {
      const path = checkpoint({ [INDEX]: SHARDS[INDEX]!, [ONE]: shard("a") });
      mkdirSync(join(path, TWO));
      return path;
    },
  ],
  ["a damaged tokenizer", () => checkpoint({ ...SHARDS, "tokenizer.json": "{" })],
];

describe.runIf(process.platform === "linux")("what fails leaves no file open", () => {
  it.each(BROKEN)("%s", async (_, make) => {
    const path = make();
    const out = () => join(folder(), "out");
    const works: [string, (signal?: AbortSignal) => Promise<unknown>][] = [
      ["load", (signal) => InternVL.load(path, { signal })],
      ["an adapter beside it", (signal) => InternVL.load(path, { adapters: [nano], signal })],
      ["verify", (signal) => verify(path, { signal })],
      ["inspect", (signal) => inspect(path, { signal })],
      ["convert", (signal) => convertWeights(path, { out: out(), to: "q8", signal })],
    ];
    for (const [name, work] of works) {
      const failed = await work().then(
        () => false,
        () => true,
      );
      if (name !== "inspect") expect(failed, name).toBe(true); // which tells what is wrong where it can
      expect(openBelow(path), name).toEqual([]);
    }
    for (const [name, work] of works) {
      const abort = new AbortController();
      const aborted = work(abort.signal).catch(() => {});
      setTimeout(() => abort.abort(), 1);
      await aborted;
      // What was under way ends by itself.
      await expect.poll(() => [...openBelow(path), ...openBelow(nano)], { message: `${name}, aborted` }).toEqual([]);
    }
  });

  it("a listener's own error while all is read", async () => {
    const onProgress = () => {
      throw new Error("the listener's");
    };
    await expect(verify(nano, { onProgress })).rejects.toThrow("the listener's");
    await expect(InternVL.load(nano, { onProgress })).rejects.toThrow("the listener's");
    await expect.poll(() => openBelow(nano)).toEqual([]); // an aborted load of another test's may still be reading
  });

  it("a download that breaks off beside a shard that is here already", async () => {
    const files = { "config.json": readFileSync(join(nano, "config.json")), ...SHARDS, [INDEX]: Buffer.from(SHARDS[INDEX]!) };
    let gone = false;
    const server = await hubServer("org/model", files as Record<string, Uint8Array>, {
      cdnMisbehave: ({ path, headers }, response) => {
        if (!path.startsWith(`/${TWO}`) || headers.range || !gone) return false;
        response.writeHead(404).end();
        return true;
      },
    });
    const cacheDir = folder();
    closing.push(server.close);
    const open = () => openSource("org/model", { endpoint: server.origin, cacheDir, sleep: async () => {} });
    await (await (await open()).open(ONE))!.read(0, 8); // by its range: nothing is kept of it
    gone = true;
    await expect(openWeights(await open())).rejects.toMatchObject({ code: "network" });
    expect(openBelow(cacheDir)).toEqual([]);
    await expect(openWeights(await open())).rejects.toMatchObject({ code: "network" }); // now with the first shard in the cache
    expect(openBelow(cacheDir)).toEqual([]);
    gone = false;
    const { close } = await openWeights(await open());
    expect(openBelow(cacheDir)).toHaveLength(2);
    await close();
    expect(openBelow(cacheDir)).toEqual([]);
  });
});
