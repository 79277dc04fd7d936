import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import { platform } from "#platform";
import type { EngineError } from "../../../src/errors.ts";
import { openRemotely, openSource, readSmall, seldom, type WeightSource } from "../../../src/hub/source.ts";
import type { RemoteOptions } from "../../../src/hub/source-remote.ts";
import { cachedModels } from "../../../src/index.ts";
import { pathOfUrl } from "../../../src/platform/files.ts";
import { encodeHeader, openCheckpoint } from "../../../src/safetensors/index.ts";
import { fetchSource } from "../../fetched.ts";
import { fileServer, filesBelow, hubServer, type Misbehave, noise, whenHeld } from "../../hub-server.ts";
import { closingAfterEach, folderIn } from "./closing.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const CONFIG = utf8('{"a": 1}');
const WEIGHTS = Buffer.concat([encodeHeader([{ name: "w", dtype: "U8", shape: [100_000] }]), noise(100_000)]);
const FILES = { "config.json": CONFIG, "tokenizer.json": utf8("{}"), "model.safetensors": WEIGHTS };
const PAGE = "<!DOCTYPE html>\n<html><head><title>App</title></head><body></body></html>";
const POINTER =
  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

const closing = closingAfterEach();
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});
const folder = () => folderIn(closing);
const caught = async (work: Promise<unknown>): Promise<EngineError> =>
  work.then(
    () => Promise.reject(new Error("it passed")),
    (error) => error,
  );
/** How many tensors a source has; what was opened for it is closed. */
const tensorsIn = async (source: WeightSource): Promise<number> => {
  const { tensors, close } = await openCheckpoint(source);
  await close();
  return tensors.size;
};
const config = async (path: string) => readSmall(await openSource(path), "config.json");

async function serve(files: Record<string, Uint8Array>, misbehave?: Misbehave) {
  const server = await fileServer(files, misbehave);
  const cacheDir = folder();
  closing.push(server.close);
  const open = (more: RemoteOptions = {}) => fetchSource(`${server.origin}/folder`, { cacheDir, sleep: async () => {}, ...more });
  return { server, cacheDir, open };
}

async function serveHub(options: Parameters<typeof hubServer>[2] = {}) {
  const server = await hubServer("org/model", FILES, options);
  const cacheDir = folder();
  closing.push(server.close);
  const open = (more: RemoteOptions = {}) =>
    fetchSource("org/model", { endpoint: server.origin, cacheDir, sleep: async () => {}, ...more });
  return { server, cacheDir, open };
}

describe("a server that answers 200 with a page for what it does not have", () => {
  /** As a dev server does: for HEAD, for ranges, and whatever the file. */
  const fallback =
    (files: Record<string, Uint8Array>, type?: string): Misbehave =>
    ({ method, path }, response) => {
      if (files[path.replace("/folder/", "")]) return false;
      response.writeHead(200, { ...(type ? { "content-type": type } : {}), "content-length": PAGE.length });
      response.end(method === "HEAD" ? undefined : PAGE);
      return true;
    };

  it.each(["text/html; charset=utf-8", undefined])("optional files count as absent (content-type %s)", async (type) => {
    const { open } = await serve(FILES, fallback(FILES, type));
    const source = await open();
    expect(await readSmall(source, "tokenizer.json")).toEqual(utf8("{}"));
    for (const name of ["tokenizer_config.json", "added_tokens.json", "model.safetensors.index.json", "README.md"]) {
      expect(await source.open(name)).toBeUndefined();
    }
    expect(await tensorsIn(source)).toBe(1);
  });

  it("a file that the server wrongly calls a page is taken for what it is", async () => {
    const { open } = await serve(FILES, ({ method, path }, response) => {
      const bytes = FILES[path.replace("/folder/", "") as keyof typeof FILES];
      if (!bytes) return false;
      response.writeHead(200, { "content-type": "text/html", "content-length": bytes.length }).end(method === "HEAD" ? undefined : bytes);
      return true;
    });
    expect(await tensorsIn(await open())).toBe(1);
  });

  it.each(["text/html", undefined])("config.json and weights that are needed are told (content-type %s)", async (type) => {
    const { open } = await serve({}, fallback({}, type));
    expect(await caught(open())).toMatchObject({
      code: "network",
      // Several files are asked for at once, and the first that comes is told.
      message: expect.stringMatching(/^the server sent an HTML page in place of (config\.json|model\.safetensors(\.index\.json)?) \(http/),
      hint: expect.stringContaining("check the address"),
    });
    const only = { "config.json": CONFIG };
    const { open: openOther } = await serve(only, fallback(only, type));
    expect(await caught(openOther())).toMatchObject({
      code: "network",
      message: expect.stringContaining("sent an HTML page in place of model.safetensors"),
    });
    const index = utf8(JSON.stringify({ weight_map: { w: "model-1.safetensors" } }));
    const sharded = { "config.json": CONFIG, "model.safetensors.index.json": index };
    const { open: openShards } = await serve(sharded, fallback(sharded, type));
    expect(await caught(openShards())).toMatchObject({ message: expect.stringContaining("page in place of model-1.safetensors") });
  });

  it("a page in answer to a range costs nothing of what an earlier run has fetched", async () => {
    let page = false;
    let held = "";
    const { open, cacheDir } = await serve(FILES, ({ method, path, headers }, response) => {
      if (!path.endsWith("model.safetensors") || method !== "GET") return false;
      if (page) response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
      else if (headers.range) return false;
      else {
        response.writeHead(200, { etag: '"x"', "content-length": WEIGHTS.length });
        response.write(WEIGHTS.subarray(0, 60_000), () => whenHeld(held, 60_000, () => response.destroy()));
        page = true;
      }
      return true;
    });
    held = cacheDir;
    expect(await caught(open())).toMatchObject({
      code: "network",
      message: expect.stringContaining("HTML page in place of model.safetensors"),
    });
    const partial = Object.entries(filesBelow(cacheDir)).find(([path]) => path.endsWith(".internvl-partial"));
    expect(partial![1].length).toBe(60_000);
  });

  it("read by ranges too", async () => {
    const { server } = await serve(FILES, fallback({ "config.json": CONFIG }, "text/html"));
    expect(await (await openRemotely(`${server.origin}/folder`)).open("model.safetensors")).toBeUndefined();
    const { server: other } = await serve(FILES, fallback({ "config.json": CONFIG }));
    const source = await openRemotely(`${other.origin}/folder`);
    expect(await caught(openCheckpoint(source))).toMatchObject({
      message: expect.stringContaining("HTML page in place of model.safetensors"),
    });
  });
});

describe("what lies in place of a file", () => {
  it.each(["config.json", "tokenizer.json", "model.safetensors"])("a Git LFS pointer as %s", async (name) => {
    const path = folder();
    writeFileSync(join(path, "config.json"), CONFIG);
    writeFileSync(join(path, name), POINTER);
    const { open } = await serve({ ...FILES, [name]: utf8(POINTER) });
    const file = {
      name,
      size: POINTER.length,
      slice: (from: number, to: number) => new Blob([POINTER]).slice(from, to),
    } as unknown as File;
    for (const source of [openSource(path), open(), openSource([file])]) {
      const error = await caught(
        source.then((source) => (name.startsWith("model") ? openCheckpoint(source) : readSmall(source, name)) as Promise<unknown>),
      );
      expect(error).toMatchObject({
        code: "bad-weights",
        message: `${name} is a Git LFS pointer, not the file itself`,
        hint: expect.stringContaining("git lfs pull"),
      });
    }
  });

  it("a page that was saved as a file", async () => {
    const path = folder();
    writeFileSync(join(path, "model.safetensors"), PAGE);
    expect(await caught(openSource(path).then(openCheckpoint))).toMatchObject({
      message: "model.safetensors is an HTML page in place of the file",
    });
  });

  it.each(["config.json", "tokenizer.json", "README.md", "merges.txt"])(
    "gigabytes as %s: refused unread, here and on a server",
    async (name) => {
      const path = folder();
      writeFileSync(join(path, name), "");
      truncateSync(join(path, name), 3e9);
      const says = { code: "bad-weights", message: expect.stringMatching(new RegExp(`^${name} has 3\\.0 GB, the limit is `)) };
      expect(await caught(openSource(path).then((source) => readSmall(source, name)))).toMatchObject(says);
      const { server, open } = await serve({ ...FILES, [name]: CONFIG }, ({ path }, response) => {
        if (!path.endsWith(name)) return false;
        response.writeHead(200, { "content-length": 3e9 });
        response.end();
        return true;
      });
      expect(await caught(open().then((source) => readSmall(source, name)))).toMatchObject(says);
      expect(server.gets(name)).toEqual([]);
    },
  );

  it("a folder, a pipe, a socket, a device, a circle of links, a disk that fails", async () => {
    const path = folder();
    const at = join(path, "config.json");
    const says = async (lay: () => unknown): Promise<string> => {
      execFileSync("rm", ["-rf", at]);
      await lay();
      const errors = [await caught(config(path)), await caught(platform.readFile(at))];
      expect(errors.map(({ code }) => code)).toEqual(["bad-weights", "bad-input"]);
      for (const { message } of errors) expect(message.includes("\n")).toBe(false);
      return errors.map(({ message }) => message).join(" | ");
    };
    expect(await says(() => mkdirSync(at))).toMatch(/is a folder, needs to be a file.*it is a folder, needs to be a file/);
    expect(await says(() => execFileSync("sh", ["-c", `mkfifo '${at}'`]))).toMatch(
      /is a pipe, needs.*it is a pipe, and nobody writes to it/,
    );
    expect(await says(() => symlinkSync("/dev/zero", at))).toMatch(/is a device.*is a device/);
    expect(await says(() => symlinkSync("config.json", at))).toMatch(/circle.*circle/);
    expect(await says(() => new Promise<void>((fulfil) => closing.push(() => socket.close()) && void socket.listen(at, fulfil)))).toMatch(
      /socket.*socket/,
    );
    const broken = await openSource(path);
    execFileSync("rm", ["-rf", at]);
    symlinkSync("/proc/self/mem", at);
    const file = (await broken.open("config.json"))!;
    expect(await caught(file.read(0, 4).finally(file.close))).toMatchObject({
      message: expect.stringContaining("the disk reports an error"),
    });
    expect(await caught(platform.readFile(join(path, "config.json/x")))).toMatchObject({ code: "bad-input" });
    expect(await caught(config("/proc/self/mem"))).toMatchObject({
      code: "bad-input",
      message: expect.stringContaining("is a file, needs to be a model's folder"),
    });
  });
  const socket = createServer();

  it("a pipe that somebody writes to is read to its end; more than the limit is refused", async () => {
    const path = join(folder(), "pipe");
    execFileSync("sh", ["-c", `mkfifo '${path}'`]);
    const bytes = noise(300_000);
    writeFileSync(`${path}.data`, bytes);
    const [read] = await Promise.all([platform.readFile(path), writeFile(path, bytes)]);
    expect(Buffer.compare(Buffer.from(read), Buffer.from(bytes))).toBe(0);
    expect(await caught(platform.readFile(`${path}.data`, 1000))).toMatchObject({
      code: "limit-exceeded",
      message: expect.stringMatching(/has 300\.0 kB, the limit is 1\.0 kB/),
    });
    truncateSync(`${path}.data`, 3e9);
    expect(await caught(platform.readFile(`${path}.data`))).toMatchObject({ code: "limit-exceeded" });
  });

  it("what a caller's own source throws, or gives in place of a file", async () => {
    const failing = { open: () => Promise.reject(new TypeError("x is undefined")) };
    expect(await caught(config(failing as never))).toMatchObject({
      code: "bad-weights",
      message: 'cannot open config.json: "x is undefined"',
    });
    expect(await caught(config({ open: async () => ({ size: "5" }) } as never))).toMatchObject({
      code: "bad-input",
      message: expect.stringContaining("needs { name, size, read }"),
    });
  });
});

describe("a path", () => {
  it("with ~, with percent signs in a file: URL, as text and as a URL", async () => {
    const home = folder();
    vi.stubEnv("HOME", home);
    const path = join(home, "a b%20ü#");
    mkdirSync(path);
    writeFileSync(join(path, "config.json"), CONFIG);
    const url = pathToFileURL(path);
    for (const source of [path, url, url.href, "~/a b%20ü#"]) expect(new Uint8Array((await config(source as string))!)).toEqual(CONFIG);
  });

  it("by the rules of Windows and of others", () => {
    expect(pathOfUrl("file:///C:/my%20models/a%2525", true)).toBe("C:\\my models\\a%25");
    expect(pathOfUrl("file://server/share/a", true)).toBe("\\\\server\\share\\a");
    expect(pathOfUrl("file:///my%20models/a", false)).toBe("/my models/a");
  });

  it.each(["file://host/share", "file:///a%2Fb", "file:///%zz"])("%s names none", async (url) => {
    expect(await caught(openSource(url))).toMatchObject({ code: "bad-input", message: expect.stringContaining("names no local path") });
  });

  it.each(["ftp://host/model", "s3://bucket/model", "about:blank", "blob:nodedata:x", "data:,x"])("%s is no folder's", async (address) => {
    for (const source of [address, new URL(address)]) {
      const error = await caught(openSource(source));
      expect(error.message).toBe(`"${address}": addresses with "${address.split(":")[0]}" cannot be read here`);
      expect(error.hint).toMatch(/^give the folder/);
    }
  });

  it("that is a file is called one, also where it looks like an id; hints are for whoever installed the package", async () => {
    const path = folder();
    writeFileSync(join(path, "x.mjs"), "");
    mkdirSync(join(path, "models"));
    writeFileSync(join(path, "models/model.safetensors"), "");
    const before = process.cwd();
    process.chdir(path);
    closing.push(() => process.chdir(before));
    for (const source of ["./x.mjs", "models/model.safetensors"]) {
      const error = await caught(openSource(source));
      expect(error).toMatchObject({ code: "bad-input", message: `${JSON.stringify(source)} is a file, needs to be a model's folder` });
      expect(error.hint).not.toContain("README");
    }
    expect((await caught(openSource(`./${"x".repeat(5000)}`))).message.length).toBeLessThan(150);
    expect(await caught(openSource("a\0b"))).toMatchObject({ code: "bad-input" });
  });
});

describe("a server that cannot be relied on", () => {
  const silent: Misbehave = () => true;

  it("is silent: the copy is used within seconds, and said to be; without one the error names the server", async () => {
    let quiet = false;
    const { open, server } = await serveHub({ misbehave: () => quiet });
    await open();
    quiet = true;
    const notes: string[] = [];
    const source = await open({ idle: 200, onProgress: ({ note }) => note && notes.push(note) });
    expect(await tensorsIn(source)).toBe(1);
    expect(notes).toEqual([expect.stringMatching(/no answer came for 0\.2 s.*: using the copy in /)]);
    const asked = server.log.length;
    expect(await caught(open({ idle: 200, cacheDir: folder() }))).toMatchObject({
      code: "network",
      message: `cannot fetch ${server.origin}/org/model/resolve/main/config.json: no answer came for 0.2 s`,
    });
    expect(server.log.length - asked).toBe(1); // waiting again would be in vain
    const { open: openUrl } = await serve(FILES, silent);
    expect(await caught(openUrl({ idle: 200 }))).toMatchObject({ code: "network", message: expect.stringContaining("no answer") });
  });

  it.each<[string, Misbehave]>([
    ["a page", (_, response) => !!response.writeHead(200, { "content-type": "text/html" }).end(PAGE)],
    [
      "a way to a login page",
      ({ path }, response) =>
        !!(path === "/login"
          ? response.writeHead(200, { "content-type": "text/html" }).end(PAGE)
          : response.writeHead(302, { location: "/login" }).end()),
    ],
    ["511", (_, response) => !!response.writeHead(511).end(PAGE)],
  ])("is a captive portal (%s): the copy is used; without one a clear error", async (_, portal) => {
    let caughtIn = false;
    const { open } = await serveHub({ misbehave: (...args) => caughtIn && (portal(...args) || true) });
    await open();
    caughtIn = true;
    expect(new Uint8Array((await readSmall(await open(), "config.json"))!)).toEqual(CONFIG);
    expect(await caught(open({ cacheDir: folder() }))).toMatchObject({
      code: "network",
      message: expect.stringMatching(/HTML page in place of config\.json|answers 511/),
    });
  });

  it.each<[string, Misbehave]>([
    [
      "without end",
      (_, response) => {
        response.writeHead(200);
        const some = noise(65_536);
        const more = (): void => {
          while (!response.destroyed && response.write(some));
          if (!response.destroyed) response.once("drain", more);
        };
        more();
        return true;
      },
    ],
    [
      "as a gzip bomb",
      (_, response) => !!response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(new Uint8Array(40_000_000))),
    ],
  ])("sends config.json %s: stopped at the limit, and nothing of it is kept", async (_, send) => {
    const { server, cacheDir } = await serve(FILES, ({ method, path, ...rest }, response, server) => {
      if (!path.endsWith("/config.json")) return false;
      if (method === "HEAD") response.writeHead(200).end();
      else send({ method, path, ...rest }, response, server);
      return true;
    });
    expect(
      await caught(openSource(`${server.origin}/folder`, { cacheDir }).then((source) => readSmall(source, "config.json"))),
    ).toMatchObject({
      code: "network",
      message: expect.stringMatching(/config\.json from http.* has more than 16\.8 MB, which is the limit/),
    });
    expect(Object.keys(filesBelow(cacheDir))).toEqual([]);
  });

  it("is never asked where HF_HUB_OFFLINE is set, with and without a copy", async () => {
    const { open, server, cacheDir } = await serveHub();
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const asked = (): Promise<Response> => Promise.reject(new Error("asked"));
    for (const error of [
      await caught(open({ fetch: asked })),
      await caught(openRemotely("org/model", { endpoint: server.origin, cacheDir, fetch: asked })),
      await caught(openSource("https://models.test/x", { cacheDir, fetch: asked })),
    ]) {
      expect(error).toMatchObject({
        code: "network",
        message: expect.stringMatching(/^HF_HUB_OFFLINE is set, and the cache holds no copy of /),
      });
    }
    expect(server.log).toEqual([]);
    vi.stubEnv("HF_HUB_OFFLINE", "");
    await open();
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await tensorsIn(await openRemotely("org/model", { cacheDir, fetch: asked }))).toBe(1);
  });

  it("tells no checksum: what was checked is said as it is", async () => {
    const verified = async (open: (more: RemoteOptions) => Promise<unknown>): Promise<string | undefined> => {
      let note: string | undefined = "no verification";
      await open({ onProgress: (progress) => progress.phase === "verify" && (note = progress.note) });
      return note;
    };
    expect(await verified((await serve(FILES)).open)).toBe("checked by length only");
    expect(await verified((await serveHub()).open)).toBeUndefined();
  });
});

it("the cache of another user: a complete copy is used, and what is newer is said to be out of reach", async () => {
  const { open, server, cacheDir } = await serveHub();
  await open();
  execFileSync("rm", ["-rf", join(cacheDir, "models--org--model/.no_exist"), join(cacheDir, ".locks")]);
  const { openStore } = platform;
  const refuse = () => Promise.reject(Object.assign(new Error("EROFS"), { code: "EROFS" }));
  vi.spyOn(platform, "openStore").mockImplementation(async (...args) => ({
    ...(await openStore(...args)),
    ...{ writeText: refuse, append: refuse, link: refuse, rename: refuse, lock: refuse, isWritable: async () => false },
  }));
  expect(await tensorsIn(await open())).toBe(1);
  const notes: string[] = [];
  const newer: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const headers = new Headers(response.headers);
    headers.set("x-repo-commit", "e".repeat(40));
    return new Response(null, { headers });
  };
  const source = await open({ fetch: newer, onProgress: ({ note }) => note && notes.push(note) });
  expect(await tensorsIn(source)).toBe(1);
  expect(notes).toEqual([expect.stringContaining("there is a newer version, but")]);
  expect(server.cdn.log).toHaveLength(1);
});

it("a disk without rights is reported in one line, with what chooses another place", async () => {
  const path = folder();
  writeFileSync(join(path, "file"), "");
  const { open } = await serve(FILES);
  const error = await caught(open({ cacheDir: join(path, "file/cache") }));
  expect(error).toMatchObject({ code: "bad-weights", message: expect.stringContaining("a part of the path is a file") });
  const proc = await caught(open({ cacheDir: "/proc/nowhere/cache" }));
  expect(proc).toMatchObject({ code: "bad-input", hint: "set cacheDir to a folder that you may write" });
  chmodSync(path, 0o700);
});

describe("a damaged cache", () => {
  it.each(["{", "null", "[]", '{"url":5}', "\0".repeat(300)])(
    "note %#: an entry whose note is damaged is shown, can be removed, and is fetched anew",
    async (note) => {
      const { open, cacheDir } = await serve(FILES);
      await open();
      const other = await serve(FILES);
      await fetchSource(`${other.server.origin}/folder`, { cacheDir });
      const [first] = await cachedModels({ cacheDir });
      const entry = Object.keys(filesBelow(cacheDir)).filter((path) => path.endsWith(".internvl.json"));
      const mine = entry[0]!.split("/")[0]!;
      for (const path of entry) if (path.startsWith(mine)) writeFileSync(join(cacheDir, path), note);
      const models = await cachedModels({ cacheDir });
      expect(models.map(({ damaged }) => damaged === true).sort()).toEqual([false, true]);
      expect(first!.damaged).toBeUndefined();
      await open();
      await fetchSource(`${other.server.origin}/folder`, { cacheDir });
      expect((await cachedModels({ cacheDir })).every(({ damaged, complete }) => !damaged && complete)).toBe(true);
      for (const path of entry) if (path.startsWith(mine)) writeFileSync(join(cacheDir, path), note);
      await (await cachedModels({ cacheDir })).find(({ damaged }) => damaged)!.remove();
      expect(await cachedModels({ cacheDir })).toHaveLength(1);
    },
  );

  it("a commit that is none, and a folder in a note's place, do not hide the others", async () => {
    const { open, cacheDir } = await serveHub();
    await open();
    const refs = join(cacheDir, "models--org--model/refs/main");
    writeFileSync(refs, "../../../etc");
    expect(await cachedModels({ cacheDir })).toMatchObject([
      { source: "org/model", complete: true, revisions: [expect.stringMatching(/^[0-9a-f]{40}$/)] },
    ]);
    execFileSync("rm", [refs]);
    mkdirSync(refs);
    expect(await cachedModels({ cacheDir })).toMatchObject([{ source: "org/model", damaged: true }]);
    await (await cachedModels({ cacheDir }))[0]!.remove();
    expect(await cachedModels({ cacheDir })).toEqual([]);
  });
});

describe("the token", () => {
  const SECRET = "hf_sEcReT";
  it.each<[string, string, RegExp]>([
    ["two lines", `${SECRET}\n${SECRET}`, /holds 2 lines/],
    ["no header's characters", `${SECRET}ü`, /characters/],
    ["words", `token ${SECRET}`, /characters/],
  ])("of %s is refused and never shown", async (_, value, says) => {
    const { open } = await serveHub();
    const home = folder();
    vi.stubEnv("HF_HOME", home);
    writeFileSync(join(home, "token"), value);
    vi.stubEnv("HF_TOKEN", "");
    const errors = [await caught(open()), await caught(open({ token: value }))];
    vi.stubEnv("HF_TOKEN", value);
    errors.push(await caught(open()));
    expect(errors.map(({ message }) => /from (the \w+)/.exec(message)?.[1])).toEqual(["the file", "the option", "the variable"]);
    for (const { code, message, hint, cause } of errors) {
      expect(code).toBe("bad-input");
      expect(message).toMatch(says);
      expect(JSON.stringify([message, hint, cause])).not.toContain("sEcReT");
    }
  });

  it("with a line's end behind it is taken", async () => {
    const { open, server } = await serveHub();
    await open({ token: `${SECRET}\r\n` });
    expect(server.log[0]!.headers.authorization).toBe(`Bearer ${SECRET}`);
  });
});

describe("reports", () => {
  it("come a few a second: the first and the last of a phase, notes, and some between", () => {
    const seen: number[] = [];
    let time = 0;
    const report = seldom<{ phase: string; loaded: number; total: number; note?: string }>(
      ({ loaded }) => seen.push(loaded),
      () => time,
    );
    for (let loaded = 0; loaded <= 1000; loaded++, time++) report({ phase: "download", loaded, total: 1000 });
    expect(seen).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
    seen.length = 0;
    for (let loaded = 0; loaded <= 250; loaded++, time++) report({ phase: "upload", loaded, total: loaded }); // untold
    report({ phase: "ready", loaded: 1, total: 1 });
    expect(seen).toEqual([0, 100, 200, 250, 1]);
  });

  it("of small files name them before the download begins", async () => {
    const { open } = await serve(FILES);
    const seen: string[] = [];
    await open({ onProgress: ({ phase, file }) => seen.push(`${phase} ${file ?? ""}`) });
    expect([...new Set(seen.map((each) => each.split(" ")[0]))]).toEqual(["resolve", "download", "verify"]);
    expect(readFileSync(new URL("../../../src/hub/source.ts", import.meta.url), "utf8")).not.toContain("weights/README");
  });
});
