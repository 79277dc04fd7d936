import { expect, it } from "vitest";
import { readSmall } from "../../../src/hub/source.ts";
import { cachedModels } from "../../../src/index.ts";
import { fetchSource } from "../../fetched.ts";
import { fileServer, hubServer, noise, temporaryFolder, whenHeld } from "../../hub-server.ts";
import { closingAfterEach } from "./closing.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const WEIGHTS = noise(300_000);
const FILES = { "config.json": utf8('{"a": 1}'), "model.safetensors": WEIGHTS };

const closing = closingAfterEach();

function cache(): string {
  const { path, remove } = temporaryFolder();
  closing.push(remove);
  return path;
}

it("nothing is cached in a folder that does not exist", async () => {
  expect(await cachedModels({ cacheDir: `${cache()}/none` })).toEqual([]);
});

it("lists what was downloaded from a hub and from an address, by what loads it, and removes one", async () => {
  const cacheDir = cache();
  const hub = await hubServer("org/model", FILES);
  const server = await fileServer(FILES);
  closing.push(hub.close, server.close);
  await fetchSource("org/model", { endpoint: hub.origin, cacheDir });
  await fetchSource(`${server.origin}/folder`, { cacheDir });
  const found = await cachedModels({ cacheDir });
  expect(found.map(({ source, complete }) => [source, complete])).toEqual([
    [`${server.origin}/folder/`, true],
    ["org/model", true],
  ]);
  for (const { bytes, files } of found) {
    expect(bytes).toBeGreaterThanOrEqual(300_008);
    expect(bytes).toBeLessThan(302_000); // notes beside the files
    expect(await readSmall(files, "config.json")).toEqual(FILES["config.json"]);
    expect(await files.open("no-such-file")).toBeUndefined();
  }
  await found[0]!.remove();
  expect((await cachedModels({ cacheDir })).map(({ source }) => source)).toEqual(["org/model"]);
  await found[1]!.remove();
  expect(await cachedModels({ cacheDir })).toEqual([]);
});

it("tells what has not come wholly: a file half-way, or one of several shards", async () => {
  const cacheDir = cache();
  const abort = new AbortController();
  const server = await hubServer("org/model", FILES, {
    cdnMisbehave: ({ method }, response) => {
      if (method !== "GET") return false;
      response.writeHead(200, { etag: '"x"', "content-length": WEIGHTS.length });
      response.write(WEIGHTS.subarray(0, 100_000), () => whenHeld(cacheDir, 100_000, () => abort.abort()));
      return true;
    },
  });
  closing.push(server.close);
  await expect(fetchSource("org/model", { endpoint: server.origin, cacheDir, signal: abort.signal })).rejects.toMatchObject({
    code: "aborted",
  });
  const [half] = await cachedModels({ cacheDir });
  expect(half).toMatchObject({ source: "org/model", complete: false });
  expect(half!.bytes).toBeGreaterThanOrEqual(100_000);
  await half!.remove();

  const index = utf8(
    JSON.stringify({
      metadata: { total_size: 4 },
      weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" },
    }),
  );
  const shards = { "config.json": utf8("{}"), "model.safetensors.index.json": index, "model-00001-of-00002.safetensors": WEIGHTS };
  const other = await hubServer("org/model", shards);
  closing.push(other.close);
  await fetchSource("org/model", { endpoint: other.origin, cacheDir }); // opening the other shard says that it is missing
  const [one] = await cachedModels({ cacheDir });
  expect(one).toMatchObject({ source: "org/model", complete: false });
});
