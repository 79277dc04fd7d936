import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openRemotely, openSource, readSmall, type SourceLike } from "../../../src/hub/source.ts";
import { encodeHeader, openCheckpoint, readTensor } from "../../../src/safetensors/index.ts";
import { fetchSource } from "../../fetched.ts";
import { fileServer, type Misbehave, noise, sendFile, sha256 } from "../../hub-server.ts";
import { memoryFiles } from "../../support.ts";
import { closingAfterEach, folderIn } from "./closing.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = async (source: SourceLike, name = "config.json") => {
  const bytes = await readSmall(await openSource(source), name);
  return bytes && new TextDecoder().decode(bytes);
};

const closing = closingAfterEach();
afterEach(() => {
  vi.unstubAllEnvs();
});
const folder = () => folderIn(closing);

/** A File of another realm, or a polyfill's: it has the shape and not the class. */
function fileLike(name: string, content: string, webkitRelativePath = ""): File {
  const { size, slice } = { size: content.length, slice: (from?: number, to?: number) => new Blob([content]).slice(from, to) };
  return { name, size, slice, webkitRelativePath } as File;
}

describe("a source is told by its shape", () => {
  it("a folder: a path, a file URL as text or as an object", async () => {
    const path = folder();
    writeFileSync(join(path, "config.json"), "here");
    for (const source of [path, pathToFileURL(path), `${pathToFileURL(path)}/`]) expect(await text(source)).toBe("here");
    expect(await text(path, "none.json")).toBeUndefined();
  });

  it("org/name: a local folder of that name comes first", async () => {
    const path = folder();
    mkdirSync(join(path, "org/model"), { recursive: true });
    writeFileSync(join(path, "org/model/config.json"), "local");
    vi.stubEnv("HF_ENDPOINT", "http://127.0.0.1:1"); // nobody listens there
    const before = process.cwd();
    process.chdir(path);
    closing.push(() => process.chdir(before));
    expect(await text("org/model")).toBe("local");
  });

  it.each(["./org/name", "../x", "/none/at/all", "name", "a/b/c", "org/na--me", "org/.."])("%j is a path and no id", async (source) => {
    await expect(openSource(source)).rejects.toMatchObject({ code: "bad-input", message: `there is no folder ${JSON.stringify(source)}` });
  });

  it("File[], a FileList and anything like them; of two with one name the one nearer to the chosen folder", async () => {
    const files = [
      fileLike("config.json", "deep", "model/onnx/config.json"),
      fileLike("config.json", "here", "model/config.json"),
      fileLike("tokenizer.json", "other", "model/tokenizer.json"),
    ];
    const list = { length: 3, 0: files[0], 1: files[1], 2: files[2], item: (i: number) => files[i] } as unknown as FileList;
    for (const source of [files, list, new Set(files)]) {
      expect(await text(source)).toBe("here");
      expect(await text(source, "none")).toBeUndefined();
    }
    expect(await text([new File(["real"], "config.json")])).toBe("real");
  });

  it("a FileSystemDirectoryHandle", async () => {
    const handle = {
      kind: "directory",
      async getFileHandle(name: string) {
        if (name === "forbidden") throw new DOMException("no", "NotAllowedError");
        if (name !== "config.json") throw new DOMException("none", "NotFoundError");
        return { getFile: async () => fileLike(name, "here") };
      },
    } as unknown as FileSystemDirectoryHandle;
    expect(await text(handle)).toBe("here");
    expect(await text(handle, "none")).toBeUndefined();
    await expect(text(handle, "forbidden")).rejects.toMatchObject({ code: "bad-weights" });
  });

  it("a file that changed since it was chosen is reported as such", async () => {
    const slice = () => ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) });
    const file = { name: "config.json", size: 4, slice } as unknown as File;
    await expect(text([file])).rejects.toMatchObject({ code: "bad-weights", hint: "the file was changed or moved: choose it again" });
  });

  it("anything with open(name)", async () => {
    expect(await text(memoryFiles({ "config.json": utf8("here") }))).toBe("here");
  });

  it.each([undefined, null, 7, {}, [], [1], [{}], () => {}])("%j is none", async (source) => {
    await expect(openSource(source as unknown as SourceLike)).rejects.toMatchObject({ code: "bad-input" });
  });

  it.each(["http://", "https://host/x?sig=1", "https://user:pw@host/x"])("%j is not an address of a folder", async (source) => {
    const error = openSource(source);
    await expect(error).rejects.toMatchObject({ code: "bad-input" });
    await expect(error).rejects.not.toThrow(/pw|sig=/);
  });
});

describe("a plain address", () => {
  const files = (): Record<string, Uint8Array> => ({ "config.json": utf8("{}"), "model.safetensors": noise(10_000) });

  async function setUp(content: Record<string, Uint8Array>, misbehave?: Misbehave) {
    const server = await fileServer(content, misbehave);
    closing.push(server.close);
    const cacheDir = folder();
    const load = (address: string | URL = `${server.origin}/folder`) => fetchSource(address, { cacheDir, sleep: async () => {} });
    const hash = async (address?: string | URL) => sha256((await readSmall(await load(address), "model.safetensors"))!);
    return { server, load, hash };
  }

  it("is fetched once while the server's ETags stay, and again when one changes", async () => {
    const content = files();
    const { server, hash } = await setUp(content);
    expect(await hash()).toBe(sha256(content["model.safetensors"]!));
    server.log.length = 0;
    for (const address of [`${server.origin}/folder/`, new URL(`${server.origin}/folder`)]) {
      expect(await hash(address)).toBe(sha256(content["model.safetensors"]!));
    }
    expect(server.log.filter(({ method }) => method === "GET")).toEqual([]);
    content["model.safetensors"] = noise(10_000, 8);
    expect(await hash()).toBe(sha256(content["model.safetensors"]));
    expect(server.gets("model.safetensors")).toHaveLength(1);
    expect(server.gets("config.json")).toHaveLength(0);
  });

  it("without ETag or date is fetched every time: nobody can tell whether it changed", async () => {
    const content = files();
    const { server, hash } = await setUp(content, ({ method, path }, response) => {
      const bytes = content[path.slice(8)];
      if (!bytes) return false;
      response.writeHead(200, { "content-length": bytes.length }).end(method === "HEAD" ? undefined : bytes);
      return true;
    });
    await hash();
    await hash();
    expect(server.gets("model.safetensors")).toHaveLength(2);
  });

  it("is loaded from the cache when the server is away", async () => {
    const content = files();
    const { server, hash } = await setUp(content);
    await hash();
    await server.close();
    expect(await hash()).toBe(sha256(content["model.safetensors"]!));
  });

  it.each([405, 501, 403])("works where HEAD is refused with %i", async (status) => {
    const content = files();
    const { hash } = await setUp(content, ({ method }, response) => {
      if (method !== "HEAD") return false;
      response.writeHead(status).end();
      return true;
    });
    expect(await hash()).toBe(sha256(content["model.safetensors"]!));
  });

  it("works where a missing file is answered with 403, as some stores do", async () => {
    const content = files();
    const { hash } = await setUp(content, ({ path }, response) => {
      if (content[path.slice(8)]) return false;
      response.writeHead(403).end();
      return true;
    });
    expect(await hash()).toBe(sha256(content["model.safetensors"]!));
  });

  it("works without any length, and with an empty file", async () => {
    const content: Record<string, Uint8Array> = { ...files(), "merges.txt": new Uint8Array(0) };
    const { hash, load } = await setUp(content, ({ method, path }, response) => {
      if (!path.endsWith("model.safetensors")) return false;
      response.writeHead(200, { "transfer-encoding": "chunked" }).end(method === "HEAD" ? undefined : content["model.safetensors"]);
      return true;
    });
    expect(await hash()).toBe(sha256(content["model.safetensors"]!));
    expect(await readSmall(await load(), "merges.txt")).toEqual(new Uint8Array(0));
  });

  it("works with names that need escaping", async () => {
    const index = utf8(JSON.stringify({ weight_map: { w: "a b+ü.safetensors" } }));
    const { load } = await setUp({ "config.json": utf8("{}"), "model.safetensors.index.json": index }, (request, response) => {
      if (decodeURIComponent(request.path) !== "/folder/a b+ü.safetensors") return false;
      sendFile(request, response, utf8("here"));
      return true;
    });
    expect(await readSmall(await load(), "a b+ü.safetensors")).toEqual(utf8("here"));
  });

  it("without a checkpoint says so, with the address", async () => {
    const { load, server } = await setUp({});
    await expect(load()).rejects.toMatchObject({
      code: "network",
      message: `there is no checkpoint at ${server.origin}/folder/: ${server.origin}/folder/config.json answers 404 Not Found`,
      hint: "give the address of the folder that holds config.json",
    });
  });

  it.each([401, 403])("answers of %i speak of private ones", async (status) => {
    const { load } = await setUp({}, (_, response) => {
      response.writeHead(status).end();
      return true;
    });
    await expect(load()).rejects.toMatchObject({
      code: "network",
      hint: expect.stringContaining("where it is private, the option `token`"),
    });
  });
});

describe("openRemotely", () => {
  const header = encodeHeader([{ name: "w", dtype: "U8", shape: [1_000_000] }]);
  const weights = Buffer.concat([header, noise(1_000_000)]);
  const content = { "config.json": utf8("{}"), "model.safetensors": weights };

  async function setUp(misbehave?: Misbehave) {
    const server = await fileServer(content, misbehave);
    closing.push(server.close);
    return { server, source: await openRemotely(`${server.origin}/folder`, { sleep: async () => {} }) };
  }

  it("reads headers and single tensors by ranges, and nothing else", async () => {
    const { server, source } = await setUp();
    const checkpoint = await openCheckpoint(source);
    const ranges = server.gets("model.safetensors").map(({ headers }) => headers.range);
    expect(ranges).toEqual(["bytes=0-8", `bytes=0-${header.length - 1}`]);
    expect(checkpoint.tensors.get("w")!.info.shape).toEqual([1_000_000]);
    expect(sha256(await readTensor(checkpoint.tensors.get("w")!))).toBe(sha256(noise(1_000_000)));
  });

  it("reads the beginning where the server knows no ranges, and says so at anything else", async () => {
    const { source } = await setUp(({ method, path }, response) => {
      if (!path.endsWith("model.safetensors")) return false;
      response.writeHead(200, { "content-length": weights.length }).end(method === "HEAD" ? undefined : weights);
      return true;
    });
    const checkpoint = await openCheckpoint(source);
    await expect(readTensor(checkpoint.tensors.get("w")!)).rejects.toMatchObject({
      code: "network",
      message: expect.stringContaining("gives no ranges, needs bytes"),
      hint: "download the folder and give its path",
    });
  });

  it("says in words what a broken answer lacks", async () => {
    const { source } = await setUp(({ method, path }, response) => {
      if (method === "HEAD") return false;
      if (path.endsWith("config.json")) response.writeHead(200, { "content-encoding": "gzip" }).end("not gzip");
      else response.writeHead(206).end(weights);
      return true;
    });
    await expect(openCheckpoint(source)).rejects.toMatchObject({
      code: "network",
      message: expect.stringContaining("gives a part that it does not name (ETag none), needs bytes 0 to 8 of"),
    });
  });

  it("a small file whose body cannot be read is the network's fault", async () => {
    const { source } = await setUp(({ path }, response) => {
      if (!path.endsWith("tokenizer.json")) return false;
      response.writeHead(200, { "content-encoding": "gzip" }).end("not gzip");
      return true;
    });
    await expect(source.open("tokenizer.json")).rejects.toMatchObject({
      code: "network",
      message: expect.stringContaining("cannot fetch"),
    });
  });

  it("notices that the file changed between two reads", async () => {
    let reads = 0;
    const { source } = await setUp((request, response) => {
      if (request.method !== "GET" || !request.path.endsWith("model.safetensors")) return false;
      sendFile(request, response, weights, { etag: `"${++reads}"` });
      return true;
    });
    await expect(openCheckpoint(source)).rejects.toMatchObject({ code: "network", message: expect.stringContaining("of the same file") });
  });

  it("knows what is not there, and refuses what is no name", async () => {
    const { source } = await setUp();
    expect(await source.open("none.json")).toBeUndefined();
    await expect(source.open("../x")).rejects.toMatchObject({ code: "bad-input" });
  });
});
