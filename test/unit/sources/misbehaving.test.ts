import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { platform } from "#platform";
import type { EngineError } from "../../../src/errors.ts";
import { readSmall } from "../../../src/hub/source.ts";
import { openUrlRanges } from "../../../src/hub/source-remote.ts";
import { fetchSource } from "../../fetched.ts";
import {
  fileServer,
  filesBelow,
  gitSha1,
  hubServer,
  type Misbehave,
  noise,
  sendFile,
  sha256,
  type TestServer,
  temporaryFolder,
  whenHeld,
} from "../../hub-server.ts";
import { closingAfterEach } from "./closing.ts";

const NAME = "model.safetensors";
const TRUE = noise(300_000);
const FILES = { "config.json": new TextEncoder().encode("{}"), [NAME]: TRUE };
const ETAG = `"${gitSha1(TRUE)}"`;

let cacheFolder = ""; // of the test that runs

/** Vitest takes seconds to compare long arrays. */
function expectTrue(bytes: Uint8Array | EngineError): void {
  if (!(bytes instanceof Uint8Array)) throw bytes;
  expect(sha256(bytes)).toBe(sha256(TRUE));
}

const closing = closingAfterEach();

/** A fresh cache, a server, and how a load from it ends. Time does not pass: the waits are only noted. */
async function setUp(server: TestServer) {
  const cache = temporaryFolder();
  cacheFolder = cache.path;
  closing.push(cache.remove, () => server.close());
  const waits: number[] = [];
  const load = async (signal?: AbortSignal, answer?: typeof fetch): Promise<Uint8Array | EngineError> => {
    try {
      const source = await fetchSource(`${server.origin}/folder`, {
        cacheDir: cache.path,
        sleep: async (ms) => void waits.push(ms),
        random: () => 1,
        signal,
        fetch: answer,
      });
      return (await readSmall(source, NAME))!;
    } catch (error) {
      return error as EngineError;
    }
  };
  /** What never may be: a file under its own name that is not the file. */
  const expectSound = () => {
    for (const [path, bytes] of Object.entries(filesBelow(cache.path))) {
      if (path.endsWith(`/${NAME}`)) expect(sha256(bytes)).toBe(sha256(TRUE));
    }
  };
  return { load, waits, expectSound, cache: cache.path, server };
}

const isData = ({ method, path }: { method: string; path: string }): boolean => method === "GET" && path.endsWith(NAME);

/** Sends the headers for the whole file, some of its bytes, and hangs up when the client has them: what waits in a broken stream is lost. */
function cutOff(response: Parameters<Misbehave>[1], bytes: Uint8Array, at: number, headers: Record<string, string> = { etag: ETAG }): true {
  response.writeHead(200, { "content-length": bytes.length, ...headers });
  response.write(bytes.subarray(0, at), () => whenHeld(cacheFolder, at, () => response.destroy()));
  return true;
}

/** The first data request is cut off in the middle; `then` answers the others. */
const cutThen =
  (then: Misbehave, headers?: Record<string, string>): Misbehave =>
  (request, response, server) => {
    if (!isData(request)) return false;
    if (server.gets(NAME).length === 1) return cutOff(response, TRUE, 100_000, headers);
    return then(request, response, server);
  };

const well: Misbehave = (request, response) => {
  sendFile(request, response, TRUE);
  return true;
};

describe("a server that misbehaves", () => {
  it("cut connection: goes on where it broke, held to the same file", async () => {
    const { load, server, expectSound, waits } = await setUp(await fileServer(FILES, cutThen(well)));
    expectTrue(await load());
    expect(server.gets(NAME)[1]!.headers).toMatchObject({ range: "bytes=100000-", "if-range": ETAG });
    expect(waits).toEqual([1000]);
    expectSound();
  });

  it("no Range: starts over", async () => {
    const plain: Misbehave = (_, response) => {
      response.writeHead(200, { etag: ETAG, "content-length": TRUE.length, "accept-ranges": "none" }).end(TRUE);
      return true;
    };
    const { load, server, expectSound } = await setUp(await fileServer(FILES, cutThen(plain)));
    expectTrue(await load());
    expect(server.gets(NAME)).toHaveLength(2);
    expectSound();
  });

  it("ignores Range but says 206: is not believed", async () => {
    const lie: Misbehave = ({ headers }, response) => {
      response
        .writeHead(headers.range ? 206 : 200, {
          etag: ETAG,
          "content-length": TRUE.length,
          ...(headers.range ? { "content-range": `bytes 0-${TRUE.length - 1}/${TRUE.length}` } : {}),
        })
        .end(TRUE);
      return true;
    };
    const { load, server, expectSound } = await setUp(await fileServer(FILES, cutThen(lie)));
    expectTrue(await load());
    expect(server.gets(NAME).map(({ headers }) => headers.range)).toEqual([undefined, "bytes=100000-", undefined]);
    expectSound();
  });

  it("weak ETag: no Range is asked", async () => {
    const weak = { etag: `W/${ETAG}` };
    const { load, server, expectSound } = await setUp(
      await fileServer(
        FILES,
        cutThen((request, response) => {
          sendFile(request, response, TRUE, weak);
          return true;
        }, weak),
      ),
    );
    expectTrue(await load());
    expect(server.gets(NAME).map(({ headers }) => headers.range)).toEqual([undefined, undefined]);
    expectSound();
  });

  it("ETag changed: the new file is taken from its start, whether the server heeds If-Range or not", async () => {
    for (const heeds of [true, false]) {
      const old = noise(TRUE.length, 7);
      const { load, server, expectSound } = await setUp(
        await fileServer(FILES, (request, response, server) => {
          if (!isData(request)) return false;
          if (server.gets(NAME).length === 1) return cutOff(response, old, 100_000, { etag: `"${gitSha1(old)}"` });
          const { "if-range": _, ...headers } = request.headers;
          sendFile(heeds ? request : { ...request, headers }, response, TRUE);
          return true;
        }),
      );
      expectTrue(await load());
      expect(server.gets(NAME)).toHaveLength(heeds ? 2 : 3);
      expectSound();
    }
  });

  it("short body: the rest is asked for", async () => {
    const { load, server, expectSound } = await setUp(
      await fileServer(FILES, (request, response, server) => {
        if (!isData(request)) return false;
        if (server.gets(NAME).length > 1) return well(request, response, server);
        response.writeHead(200, { etag: ETAG }).end(TRUE.subarray(0, 100_000)); // chunked: it ends properly, but early
        return true;
      }),
    );
    expectTrue(await load());
    expect(server.gets(NAME)[1]!.headers.range).toBe("bytes=100000-");
    expectSound();
  });

  it("short body, always: an error that names both lengths, and nothing wrong is kept", async () => {
    const { load, expectSound, cache } = await setUp(
      await fileServer(FILES, (request, response) => {
        if (!isData(request)) return false;
        response.writeHead(200).end(TRUE.subarray(0, 100_000));
        return true;
      }),
    );
    expect(await load()).toMatchObject({ code: "network", message: expect.stringContaining("ended at byte 100000 of 300000") });
    expectSound();
    expect(Object.keys(filesBelow(cache)).filter((path) => path.includes(NAME))).toEqual([]);
  });

  it.each([
    ["another start", (at: number) => `bytes ${at - 10}-${TRUE.length - 1}/${TRUE.length}`],
    ["another length", (at: number) => `bytes ${at}-${TRUE.length}/${TRUE.length + 1}`],
    ["nonsense", () => "bytes */*"],
  ])("wrong Content-Range (%s): starts over", async (_, range) => {
    const { load, server, expectSound } = await setUp(
      await fileServer(
        FILES,
        cutThen((request, response, server) => {
          const at = Number(/^bytes=(\d+)/.exec(request.headers.range ?? "")?.[1]);
          if (!at) return well(request, response, server);
          const rest = noise(TRUE.length - at, 9); // what must not get into the file
          response.writeHead(206, { etag: ETAG, "content-length": rest.length, "content-range": range(at) }).end(rest);
          return true;
        }),
      ),
    );
    expectTrue(await load());
    expect(server.gets(NAME)).toHaveLength(3);
    expectSound();
  });

  it("416: starts over", async () => {
    const { load, server, expectSound } = await setUp(
      await fileServer(
        FILES,
        cutThen((request, response, server) => {
          if (!request.headers.range) return well(request, response, server);
          response.writeHead(416, { "content-range": `bytes */${TRUE.length}` }).end();
          return true;
        }),
      ),
    );
    expectTrue(await load());
    expect(server.gets(NAME).map(({ headers }) => headers.range)).toEqual([undefined, "bytes=100000-", undefined]);
    expectSound();
  });

  it.each([429, 503])("%i with Retry-After: waits as long as asked", async (status) => {
    const { load, waits, expectSound } = await setUp(
      await fileServer(FILES, (request, response, server) => {
        if (!isData(request) || server.gets(NAME).length > 2) return false;
        const [first, second] = ["7", new Date(Date.now() + 60_000).toUTCString()];
        response.writeHead(status, { "retry-after": server.gets(NAME).length === 1 ? first : second }).end();
        return true;
      }),
    );
    expectTrue(await load());
    expect(waits[0]).toBe(7000);
    expect(waits[1]).toBeGreaterThan(55_000);
    expectSound();
  });

  it("503 for ever: waits longer and longer, then an error with the status", async () => {
    const { load, waits } = await setUp(
      await fileServer(FILES, (request, response) => {
        if (!isData(request)) return false;
        response.writeHead(503).end();
        return true;
      }),
    );
    expect(await load()).toMatchObject({
      code: "network",
      message: expect.stringContaining("503"),
      hint: expect.stringContaining("later"),
    });
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
  });

  it("403 then redirect: an address that has expired is asked for again, and the part is kept", async () => {
    let signatures = 0;
    const { load, server, expectSound } = await setUp(
      await fileServer(FILES, (request, response, server) => {
        const [path, signature] = request.path.split("?");
        if (!path!.endsWith(NAME)) return false;
        if (signature === undefined) {
          if (request.method === "GET") signatures++;
          response.writeHead(302, { location: `${server.origin}/folder/cdn/${NAME}?${signatures}`, "content-length": 0 }).end();
          return true;
        }
        if (request.method === "GET" && signature === "1") return cutOff(response, TRUE, 100_000);
        if (request.method === "GET" && signature === "2") {
          response.writeHead(403).end("expired");
          return true;
        }
        sendFile(request, response, TRUE);
        return true;
      }),
    );
    expectTrue(await load());
    const signed = server.gets(NAME).filter(({ path }) => path.includes("?"));
    expect(signed.map(({ path, headers }) => [path.split("?")[1], headers.range])).toEqual([
      ["1", undefined],
      ["2", "bytes=100000-"],
      ["3", "bytes=100000-"],
    ]);
    expectSound();
  });

  it("403 for ever: an error with the status", async () => {
    const { load, expectSound } = await setUp(
      await fileServer(FILES, (request, response) => {
        if (!isData(request)) return false;
        response.writeHead(403).end();
        return true;
      }),
    );
    expect(await load()).toMatchObject({ code: "network", message: expect.stringMatching(/model\.safetensors answers 403/) });
    expectSound();
  });

  it.each([
    ["less", TRUE.subarray(0, 200_000)],
    ["more", noise(400_000)],
  ])("wrong length (%s than promised): an error that names both", async (_, bytes) => {
    const { load, expectSound, cache } = await setUp(
      await fileServer(FILES, (request, response) => {
        if (!isData(request)) return false;
        response.writeHead(200, { etag: ETAG, "content-length": bytes.length }).end(bytes);
        return true;
      }),
    );
    expect(await load()).toMatchObject({ code: "network", message: expect.stringContaining(`has ${bytes.length} bytes, needs 300000`) });
    expectSound();
    expect(Object.keys(filesBelow(cache)).filter((path) => path.includes(NAME))).toEqual([]);
  });

  it("a chunked body longer than promised is cut off", async () => {
    const { load, expectSound } = await setUp(
      await fileServer(FILES, (request, response) => {
        if (!isData(request)) return false;
        response.writeHead(200, { etag: ETAG }).end(noise(400_000));
        return true;
      }),
    );
    expect(await load()).toMatchObject({ code: "network", message: expect.stringContaining("gives more than 300000 bytes") });
    expectSound();
  });

  it("wrong hash: tried again, then an error that names both hashes, and nothing wrong is kept", async () => {
    const other = noise(TRUE.length, 5);
    for (const lies of [1, 100]) {
      const cache = temporaryFolder();
      const server = await hubServer("org/model", FILES, {
        cdnMisbehave: (request, response, cdn) => {
          if (cdn.log.length > lies) return false;
          sendFile(request, response, other);
          return true;
        },
      });
      closing.push(cache.remove, () => server.close());
      const load = fetchSource("org/model", { endpoint: server.origin, cacheDir: cache.path, sleep: async () => {} });
      if (lies === 1) expectTrue((await readSmall(await load, NAME))!);
      else {
        await expect(load).rejects.toMatchObject({ code: "network", message: expect.stringContaining(`has sha256 ${sha256(other)}`) });
        await expect(load).rejects.toThrow(`the server promises ${sha256(TRUE)}`);
        expect(Object.keys(filesBelow(cache.path)).filter((path) => path.includes("blobs/") && path.includes(sha256(TRUE)))).toEqual([]);
      }
    }
  });

  it("a hash told by Repr-Digest is checked too", async () => {
    const digest = Buffer.from(sha256(noise(1)), "hex").toString("base64");
    const { load } = await setUp(
      await fileServer(FILES, (request, response) => {
        if (!request.path.endsWith(NAME)) return false;
        sendFile(request, response, TRUE, { "repr-digest": `sha-256=:${digest}:` });
        return true;
      }),
    );
    expect(await load()).toMatchObject({ code: "network", message: expect.stringContaining("sha256") });
  });

  it("a connection that gives nothing for too long counts as cut", async () => {
    const idle = 86_400_000; // a day, which passes when the first half is here, and not while the machine does something else
    const waiting = new Map<unknown, () => void>(); // who waits that long: several files are asked for at once
    const { setTimeout: set, clearTimeout: clear } = globalThis;
    const timers = [
      vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, ms?: number, ...given: []) => {
        const timer = set(run, ms, ...given); // undici gives its own
        if (ms === idle) waiting.set(timer, run);
        return timer;
      }) as typeof setTimeout),
      vi.spyOn(globalThis, "clearTimeout").mockImplementation((timer) => {
        waiting.delete(timer);
        clear(timer);
      }),
    ];
    let asking = 0; // requests that the server may not have seen yet: what is asked anew waits for its answer, and no day passes then
    const counted: typeof fetch = (input, init) => {
      asking++;
      return fetch(input, init).finally(() => asking--);
    };
    const passes = () => {
      if (asking === 0) for (const run of waiting.values()) run();
    };
    const cache = temporaryFolder();
    let again: NodeJS.Timeout | undefined;
    const server = await fileServer(FILES, (request, response, server) => {
      if (!isData(request)) return false;
      clearInterval(again);
      if (server.gets(NAME).length > 1) return false;
      response.writeHead(200, { etag: ETAG, "content-length": TRUE.length });
      response.write(TRUE.subarray(0, 100_000)); // and nothing more
      whenHeld(cache.path, 100_000, () => (again = setInterval(passes, 5)));
      return true;
    });
    closing.push(
      () => timers.map((timer) => timer.mockRestore()),
      cache.remove,
      () => server.close(),
    );
    const source = await fetchSource(`${server.origin}/folder`, { cacheDir: cache.path, sleep: async () => {}, idle, fetch: counted });
    expectTrue((await readSmall(source, NAME))!);
    expect(server.gets(NAME)).toHaveLength(2);
    expect(server.gets(NAME)[1]!.headers.range).toBe("bytes=100000-");
  });
});

describe("in a page, whose requests another origin may refuse", () => {
  const { seesEverything } = platform;
  beforeEach(() => void Object.assign(platform, { seesEverything: false }));
  afterEach(() => void Object.assign(platform, { seesEverything }));

  /** As a browser where the server's preflight allows no If-Range. */
  const withoutIfRange: typeof fetch = async (input, init) => {
    if (new Headers(init?.headers).has("if-range")) throw new TypeError("Failed to fetch");
    return fetch(input, init);
  };

  it("If-Range refused: goes on with a Range alone", async () => {
    const { load, server, expectSound } = await setUp(await fileServer(FILES, cutThen(well)));
    expectTrue(await load(undefined, withoutIfRange));
    const [, second] = server.gets(NAME);
    expect(second!.headers.range).toBe("bytes=100000-");
    expect(second!.headers["if-range"]).toBeUndefined();
    expect(server.gets(NAME)).toHaveLength(2);
    expectSound();
  });

  it("If-Range refused, and the file is another: starts over", async () => {
    const { load, server, expectSound } = await setUp(
      await fileServer(FILES, (request, response, server) => {
        if (!isData(request)) return false;
        const old = noise(TRUE.length, 7);
        return server.gets(NAME).length === 1
          ? cutOff(response, old, 100_000, { etag: `"${gitSha1(old)}"` })
          : well(request, response, server);
      }),
    );
    expectTrue(await load(undefined, withoutIfRange));
    expect(server.gets(NAME).map(({ headers }) => headers.range)).toEqual([undefined, "bytes=100000-", undefined]);
    expectSound();
  });

  it("the network is lost: what was fetched is kept, and the next load goes on there", async () => {
    let lost = false;
    const losing: typeof fetch = async (input, init) => {
      if (lost && String(input).endsWith(NAME)) throw new TypeError("Failed to fetch");
      lost ||= (init?.method ?? "GET") === "GET" && String(input).endsWith(NAME); // and stays so, whatever is asked for beside it
      return fetch(input, init);
    };
    const { load, server, expectSound } = await setUp(await fileServer(FILES, cutThen(well)));
    expect(await load(undefined, losing)).toMatchObject({ code: "network" });
    expectSound();
    expectTrue(await load());
    expect(server.gets(NAME).map(({ headers }) => headers.range)).toEqual([undefined, "bytes=100000-"]);
    expectSound();
  });
});

describe("ranges of files", () => {
  /** As a server that compresses while it sends: no length, for files of some names. */
  const untold =
    (...names: string[]): Misbehave =>
    ({ method, path }, response) => {
      const name = names.find((each) => path.endsWith(`/${each}`));
      if (!name) return false;
      response.writeHead(200, { "content-type": "application/json" });
      if (method === "GET") response.write(name === "config.json" ? "{}" : " ".repeat(17 * 2 ** 20));
      response.end();
      return true;
    };
  const opened = async (misbehave: Misbehave) => {
    const server = await fileServer(FILES, misbehave);
    closing.push(() => server.close());
    return openUrlRanges(`${server.origin}/folder`, {});
  };

  it("a small one that tells no length comes whole", async () => {
    const source = await opened(untold("config.json"));
    expect(new TextDecoder().decode(await readSmall(source, "config.json"))).toBe("{}");
  });

  it("but not an endless one, nor tensors", async () => {
    const source = await opened(untold("preprocessor_config.json", NAME));
    await expect(source.open("preprocessor_config.json")).rejects.toThrow(/preprocessor_config.json has 1[67].* MB, the limit is/);
    await expect(source.open(NAME)).rejects.toThrow("does not tell its length");
  });
});
