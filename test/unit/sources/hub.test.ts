import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { platform } from "#platform";
import type { EngineError } from "../../../src/errors.ts";
import { readSmall } from "../../../src/hub/source.ts";
import type { RemoteOptions } from "../../../src/hub/source-remote.ts";
import { fetchSource } from "../../fetched.ts";
import { COMMIT, filesBelow, gitSha1, hubServer, noise, sha256, temporaryFolder } from "../../hub-server.ts";
import { closingAfterEach } from "./closing.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const NAME = "model.safetensors";
const WEIGHTS = noise(300_000);
const CONFIG = utf8('{"a": 1}');
const FILES = { "config.json": CONFIG, "tokenizer.json": utf8("{}"), [NAME]: WEIGHTS };
const REPO = "models--org--model";

const closing = closingAfterEach();
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

async function setUp(files: Record<string, Uint8Array> = FILES, options: Parameters<typeof hubServer>[2] = {}) {
  const server = await hubServer("org/model", files, options);
  const cache = temporaryFolder();
  closing.push(cache.remove, server.close);
  const load = (more: RemoteOptions = {}) =>
    fetchSource("org/model", { endpoint: server.origin, cacheDir: cache.path, sleep: async () => {}, ...more });
  return { server, cache: cache.path, load };
}

/** A cache as huggingface_hub leaves it. */
function officialCache(root: string, files: Record<string, Uint8Array>, absent: string[] = []): void {
  const put = (path: string, bytes: Uint8Array | string): void => {
    mkdirSync(dirname(join(root, REPO, path)), { recursive: true });
    writeFileSync(join(root, REPO, path), bytes);
  };
  put("refs/main", COMMIT);
  mkdirSync(join(root, REPO, "snapshots", COMMIT), { recursive: true });
  for (const [name, bytes] of Object.entries(files)) {
    const blob = name.endsWith(".safetensors") ? sha256(bytes) : gitSha1(bytes);
    put(`blobs/${blob}`, bytes);
    symlinkSync(`../../blobs/${blob}`, join(root, REPO, "snapshots", COMMIT, name));
  }
  for (const name of absent) put(`.no_exist/${COMMIT}/${name}`, "");
}

const hashOf = async (source: Awaited<ReturnType<typeof fetchSource>>, name = NAME) => sha256((await readSmall(source, name))!);

describe("the cache of Hugging Face", () => {
  it("is written as huggingface_hub writes it", async () => {
    const { load, cache } = await setUp();
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    const repo = join(cache, REPO);
    expect(readFileSync(join(repo, "refs/main"), "utf8")).toBe(COMMIT);
    expect(readdirSync(join(repo, "blobs")).sort()).toEqual([sha256(WEIGHTS), gitSha1(CONFIG), gitSha1(utf8("{}"))].sort());
    expect(readdirSync(join(repo, "snapshots"))).toEqual([COMMIT]);
    const snapshot = join(repo, "snapshots", COMMIT);
    expect(readdirSync(snapshot).sort()).toEqual(Object.keys(FILES).sort());
    expect(readlinkSync(join(snapshot, NAME))).toBe(`../../blobs/${sha256(WEIGHTS)}`);
    expect(readlinkSync(join(snapshot, "config.json"))).toBe(`../../blobs/${gitSha1(CONFIG)}`);
    expect(readdirSync(join(repo, ".no_exist", COMMIT))).toContain("chat_template.jinja");
    expect(readdirSync(join(cache, ".locks", REPO))).toEqual([]);
  });

  it("is used: a second load asks for the commit and nothing else", async () => {
    const { load, server } = await setUp();
    await load();
    server.log.length = 0;
    server.cdn.log.length = 0;
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(server.log.map(({ method, path }) => `${method} ${path}`)).toEqual(["HEAD /org/model/resolve/main/config.json"]);
    expect(server.cdn.log).toEqual([]);
  });

  it("is used as another program left it, without a download", async () => {
    const { load, server, cache } = await setUp();
    officialCache(cache, FILES, ["generation_config.json"]);
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(server.log.every(({ method }) => method === "HEAD")).toBe(true);
    expect(server.log.some(({ path }) => path.endsWith("/generation_config.json"))).toBe(false); // known not to exist
    expect(server.cdn.log).toEqual([]);
  });

  it("is found by HF_HOME and HF_HUB_CACHE, and the server by HF_ENDPOINT", async () => {
    const { server, cache } = await setUp();
    officialCache(join(cache, "hub"), FILES);
    vi.stubEnv("HF_ENDPOINT", `${server.origin}/`);
    vi.stubEnv("HF_HUB_CACHE", "");
    vi.stubEnv("HF_HOME", cache);
    expect(await hashOf(await fetchSource("org/model"))).toBe(sha256(WEIGHTS));
    expect(server.cdn.log).toEqual([]);
    officialCache(join(cache, "other"), FILES);
    vi.stubEnv("HF_HOME", "/nonexistent");
    vi.stubEnv("HF_HUB_CACHE", join(cache, "other"));
    expect(await hashOf(await fetchSource("org/model"))).toBe(sha256(WEIGHTS));
    expect(server.cdn.log).toEqual([]);
  });

  it("stands in when the server cannot be reached; a commit needs no server at all", async () => {
    const { load, server, cache } = await setUp();
    officialCache(cache, FILES);
    await server.close();
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await hashOf(await load({ fetch: () => Promise.reject(new Error("asked the server")) }))).toBe(sha256(WEIGHTS));
    const { [NAME]: _, ...rest } = FILES;
    const half = temporaryFolder();
    closing.push(half.remove);
    officialCache(half.path, rest);
    await expect(load({ cacheDir: half.path })).rejects.toMatchObject({
      code: "network",
      message: expect.stringContaining(
        "HF_HUB_OFFLINE is set, and the cache does not hold all of org/model at main: model.safetensors is missing",
      ),
    });
  });

  it("takes a new commit's files, and keeps what did not change", async () => {
    const files = { ...FILES };
    const { load, server, cache } = await setUp(files);
    officialCache(cache, { ...FILES, "config.json": utf8('{"old": 1}') });
    writeFileSync(join(cache, REPO, "refs/main"), "f".repeat(40));
    expect(await readSmall(await load(), "config.json")).toEqual(utf8('{"old": 1}')); // the commit that the server names is cached
    const other = temporaryFolder();
    closing.push(other.remove);
    officialCache(other.path, { ...FILES, "config.json": utf8('{"old": 1}') });
    const moved = join(other.path, REPO, "snapshots");
    mkdirSync(join(moved, "e".repeat(40)), { recursive: true });
    server.log.length = 0;
    const source = await fetchSource("org/model", {
      endpoint: server.origin,
      cacheDir: other.path,
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        const headers = new Headers(response.headers);
        if (headers.has("x-repo-commit")) headers.set("x-repo-commit", "e".repeat(40));
        return new Response(response.body, { status: response.status, headers });
      },
    });
    expect(new Uint8Array((await readSmall(source, "config.json"))!)).toEqual(CONFIG);
    expect(server.cdn.log).toEqual([]); // the weights' blob is there
    expect(readlinkSync(join(moved, "e".repeat(40), NAME))).toBe(`../../blobs/${sha256(WEIGHTS)}`);
    expect(readFileSync(join(other.path, REPO, "refs/main"), "utf8")).toBe("e".repeat(40));
  });
});

describe("downloads", () => {
  it("stopped by the signal, go on where they stopped", async () => {
    const { load, server, cache } = await setUp(FILES, {
      cdnMisbehave: ({ headers }, response) => {
        if (headers.range) return false;
        response.writeHead(200, { etag: `"cdn-${sha256(WEIGHTS).slice(0, 8)}"`, "content-length": WEIGHTS.length });
        response.write(WEIGHTS.subarray(0, 100_000)); // the rest never comes
        return true;
      },
    });
    const abort = new AbortController();
    const first = load({ signal: abort.signal });
    const blobs = join(cache, REPO, "blobs");
    const partial = join(blobs, `${sha256(WEIGHTS)}.internvl-partial`);
    const watch = setInterval(() => {
      if (existsSync(partial) && statSync(partial).size === 100_000) abort.abort();
    }, 20);
    await expect(first).rejects.toMatchObject({ code: "aborted", hint: expect.stringContaining("goes on where it stopped") });
    clearInterval(watch);
    expect(readFileSync(partial)).toHaveLength(100_000);
    expect(JSON.parse(readFileSync(`${partial}.json`, "utf8"))).toMatchObject({
      etag: `"cdn-${sha256(WEIGHTS).slice(0, 8)}"`,
      size: 300_000,
    });
    server.cdn.log.length = 0;
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(server.cdn.log.map(({ headers }) => headers.range)).toEqual(["bytes=100000-"]);
    expect(readdirSync(blobs).filter((name) => name.includes("partial"))).toEqual([]);
  });

  it("a damaged part is found out by the hash", async () => {
    const { load, server, cache } = await setUp();
    mkdirSync(join(cache, REPO, "blobs"), { recursive: true });
    const partial = join(cache, REPO, "blobs", `${sha256(WEIGHTS)}.internvl-partial`);
    writeFileSync(partial, noise(100_000, 3));
    writeFileSync(`${partial}.json`, JSON.stringify({ url: "x", etag: `"cdn-${sha256(WEIGHTS).slice(0, 8)}"`, size: 300_000 }));
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(server.cdn.log.map(({ headers }) => headers.range)).toEqual(["bytes=100000-", undefined]);
  });

  it.each([
    ["without a state", undefined],
    ["with a damaged state", "{"],
    ["with a weak ETag", JSON.stringify({ etag: 'W/"x"', size: 300_000 })],
    ["of another length", JSON.stringify({ etag: '"x"', size: 5 })],
  ])("a part %s is not used", async (_, state) => {
    const { load, server, cache } = await setUp();
    mkdirSync(join(cache, REPO, "blobs"), { recursive: true });
    const partial = join(cache, REPO, "blobs", `${sha256(WEIGHTS)}.internvl-partial`);
    writeFileSync(partial, noise(100_000, 3));
    if (state) writeFileSync(`${partial}.json`, state);
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(server.cdn.log.map(({ headers }) => headers.range)).toEqual([undefined]);
  });

  it("two at once fetch everything once", async () => {
    const { load, server } = await setUp();
    const both = await Promise.all([load(), load()]);
    for (const source of both) expect(await hashOf(source)).toBe(sha256(WEIGHTS));
    expect(server.cdn.log).toHaveLength(1);
  });

  it("wait for a living process, and not for one that is gone", async () => {
    const { load, server, cache } = await setUp();
    const lock = join(cache, ".locks", REPO, `${sha256(WEIGHTS)}.internvl-lock`);
    mkdirSync(dirname(lock), { recursive: true });
    const host = (await import("node:os")).hostname();
    writeFileSync(lock, JSON.stringify({ pid: process.ppid, host, nonce: "x" }));
    const abort = new AbortController();
    const waiting = load({ signal: abort.signal });
    await vi.waitFor(() => expect(server.log.filter(({ path }) => path.endsWith(NAME))).toHaveLength(1), 60_000);
    setTimeout(() => abort.abort(), 300);
    await expect(waiting).rejects.toMatchObject({ code: "aborted" });
    expect(server.cdn.log).toHaveLength(0);
    writeFileSync(lock, JSON.stringify({ pid: 2 ** 22 + 1, host, nonce: "x" })); // beyond any process id
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(readdirSync(dirname(lock))).toEqual([]);
  });

  it("report phases in order and numbers that only grow", async () => {
    const seen: { phase: string; loaded: number; total: number }[] = [];
    const { load } = await setUp(FILES, {
      cdnMisbehave: (_, response, { log }) => {
        if (log.length > 1) return false;
        response.writeHead(200, { "content-length": WEIGHTS.length }); // no ETag: it has to start over
        response.write(WEIGHTS.subarray(0, 290_000), () => setTimeout(() => response.destroy(), 20));
        return true;
      },
    });
    await load({ onProgress: (progress) => seen.push(progress) });
    const phases = seen.map(({ phase }) => phase);
    expect([...new Set(phases)]).toEqual(["resolve", "download", "verify"]);
    expect(phases).toEqual(
      [...phases].sort((a, b) => ["resolve", "download", "verify"].indexOf(a) - ["resolve", "download", "verify"].indexOf(b)),
    );
    const downloads = seen.filter(({ phase }) => phase === "download");
    const all = WEIGHTS.length + CONFIG.length + 2;
    expect(new Set(downloads.map(({ total }) => total))).toEqual(new Set([all]));
    expect(downloads.map(({ loaded }) => loaded)).toEqual(downloads.map(({ loaded }) => loaded).sort((a, b) => a - b));
    expect(downloads.at(-1)!.loaded).toBe(all);
    expect(seen.at(-1)).toEqual({ phase: "verify", loaded: all, total: all });
  });

  it("are not begun where there is no room, and say how much is needed", async () => {
    const { load, server } = await setUp();
    const { openStore } = platform;
    vi.spyOn(platform, "openStore").mockImplementation(async (...args) => ({ ...(await openStore(...args)), space: async () => 1000 }));
    await expect(load()).rejects.toMatchObject({
      code: "limit-exceeded",
      message: expect.stringMatching(/^org\/model at main needs 300\.0 kB more in .*, which has room for 1\.0 kB$/),
    });
    expect(server.cdn.log).toEqual([]);
  });

  it("of one file that fails stop the others", async () => {
    const index = utf8(JSON.stringify({ weight_map: { a: "model-1.safetensors", b: "model-2.safetensors" } }));
    const { load, server } = await setUp(
      { "config.json": CONFIG, "model.safetensors.index.json": index, "model-1.safetensors": noise(1000), "model-2.safetensors": WEIGHTS },
      {
        cdnMisbehave: ({ path }, response) => {
          if (path.startsWith("/model-1")) response.writeHead(500).end();
          else response.writeHead(200, { etag: '"x"', "content-length": WEIGHTS.length }).write(WEIGHTS.subarray(0, 1000)); // and waits
          return true;
        },
      },
    );
    await expect(load()).rejects.toMatchObject({ code: "network", message: expect.stringMatching(/model-1\.safetensors answers 500/) });
    expect(server.cdn.gets("model-2.safetensors")).toHaveLength(1);
  });
});

describe("what a server may not do", () => {
  it("see the token of another", async () => {
    const { load, server } = await setUp();
    vi.stubEnv("HF_TOKEN", "hf_secret");
    expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
    expect(new Set(server.log.map(({ headers }) => headers.authorization))).toEqual(new Set(["Bearer hf_secret"]));
    expect(server.cdn.log.length).toBeGreaterThan(0);
    expect(server.cdn.log.map(({ headers }) => headers.authorization)).toEqual(server.cdn.log.map(() => undefined));
    expect(server.cdn.log.map(({ path }) => path)).toEqual([`/${NAME}?signature=secret`]);
  });

  it("get the user's token because it is loaded from as a plain address", async () => {
    const { server, cache } = await setUp();
    vi.stubEnv("HF_TOKEN", "hf_secret");
    await fetchSource(`${server.origin}/org/model/resolve/main`, { cacheDir: cache });
    expect(server.log.map(({ headers }) => headers.authorization)).toEqual(server.log.map(() => undefined));
    server.log.length = 0;
    await fetchSource(`${server.origin}/org/model/resolve/main`, { cacheDir: cache, token: "its_own" });
    expect(server.log[0]!.headers.authorization).toBe("Bearer its_own");
  });

  it.each(["../secret", "/etc/passwd", "a/../../b", "..\\x", "http://evil/x"])(
    "lead out of the cache by a shard called %j",
    async (shard) => {
      const index = utf8(JSON.stringify({ weight_map: { w: shard } }));
      const { load, server } = await setUp({ "config.json": CONFIG, "model.safetensors.index.json": index });
      await expect(load()).rejects.toMatchObject({ code: "bad-weights", message: expect.stringContaining("is not a plain file name") });
      expect(server.log.filter(({ path }) => !/\/org\/model\/resolve\/main\/[\w.]+$/.test(path))).toEqual([]);
    },
  );

  it("lead out of the cache by an ETag or a commit", async () => {
    for (const told of [{ etag: '"../../../evil"' }, { "x-repo-commit": "../../evil" }]) {
      const { load, cache } = await setUp(FILES, {
        misbehave: ({ method, path }, response) => {
          if (!path.endsWith("config.json") || path.endsWith("_config.json")) return false;
          response.writeHead(200, { "x-repo-commit": COMMIT, "content-length": CONFIG.length, etag: '"12345678"', ...told });
          response.end(method === "HEAD" ? undefined : CONFIG);
          return true;
        },
      });
      const deep = join(cache, "1/2/3/4/5/6");
      expect(new Uint8Array((await readSmall(await load({ cacheDir: deep }), "config.json"))!)).toEqual(CONFIG);
      expect(Object.keys(filesBelow(cache)).filter((path) => path.includes("evil") || !path.startsWith("1/2/3/4/5/6/"))).toEqual([]);
    }
  });

  it("send us to another scheme, or round in circles", async () => {
    for (const [location, says] of [
      ["file:///etc/passwd", 'redirects to "file:///etc/passwd"'],
      ["/org/model/resolve/main/config.json", "redirects more than 10 times"],
    ] as const) {
      const { load } = await setUp(FILES, {
        misbehave: (_, response) => {
          response.writeHead(302, { location, "content-length": 0 }).end();
          return true;
        },
      });
      await expect(load()).rejects.toMatchObject({ code: "network", message: expect.stringContaining(says) });
    }
  });

  it("give files of two commits", async () => {
    const { load } = await setUp(FILES, {
      misbehave: ({ path }, response) => {
        if (!path.endsWith("tokenizer.json")) return false;
        response.writeHead(200, { "x-repo-commit": "e".repeat(40), "content-length": 2 }).end("{}");
        return true;
      },
    });
    await expect(load()).rejects.toMatchObject({ code: "network", message: expect.stringContaining("changed to commit eeeeeeee") });
  });
});

describe("errors say what to do", () => {
  it("no such repository: the address and the remedy", async () => {
    const { server, cache } = await setUp();
    const error = await fetchSource("org/mistyped", { endpoint: server.origin, cacheDir: cache }).catch((error: EngineError) => error);
    expect(error).toMatchObject({
      code: "network",
      message: `no model "org/mistyped" (main): ${server.origin}/org/mistyped/resolve/main/config.json answers 401 Unauthorized (RepoNotFound)`,
      hint: expect.stringMatching(/neither a local folder nor a repository.*HF_TOKEN/),
    });
  });

  it("nobody answers: the address and the reason, after a few tries", async () => {
    const { load, server } = await setUp();
    await server.close();
    const sleep = vi.fn(async () => {});
    await expect(load({ sleep })).rejects.toMatchObject({ code: "network", message: expect.stringContaining("ECONNREFUSED") });
    expect(sleep).toHaveBeenCalledTimes(2);
  });

  it.each([
    [{ revision: "../main" }, /the revision is "\.\.\/main"/],
    [{ endpoint: "huggingface.co" }, /the endpoint is "huggingface\.co", needs an http\(s\) address/],
  ])("%j is refused", async (options, says) => {
    await expect(fetchSource("org/model", options)).rejects.toMatchObject({ code: "bad-input", message: expect.stringMatching(says) });
  });
});

it("a mirror that tells no commit is loaded from all the same, and asked again each time", async () => {
  const { load, server } = await setUp(FILES, { commit: null });
  expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
  expect(await hashOf(await load())).toBe(sha256(WEIGHTS));
  expect(server.cdn.log).toHaveLength(1);
});

it("where redirects cannot be seen, as in a browser, they are followed blindly", async () => {
  const { load, server } = await setUp();
  const opaque = new Proxy(new Response(null), {
    get: (target, key) => (key === "type" ? "opaqueredirect" : Reflect.get(target, key, target)),
  });
  const source = await load({
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      return response.status === 302 ? opaque : response;
    },
  });
  expect(await hashOf(source)).toBe(sha256(WEIGHTS));
  expect(server.cdn.log.map(({ method }) => method)).toEqual(["HEAD", "GET", "GET"]); // the signed address refuses HEAD
});
