import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { fetchLimited } from "../../../src/platform/fetch.ts";
import { fileServer, type Misbehave, noise } from "../../hub-server.ts";
import { closingAfterEach } from "./closing.ts";

const closing = closingAfterEach();

const BYTES = noise(10_000);

async function get(misbehave?: Misbehave, more: Partial<Parameters<typeof fetchLimited>[1]> = {}) {
  const server = await fileServer({ "a.png": BYTES }, misbehave);
  closing.push(server.close);
  return fetchLimited(`${server.origin}/folder/a.png?key=secret`, { what: "image 1", maxBytes: 20_000, ...more });
}
const asked = async (misbehave: Misbehave, more?: Partial<Parameters<typeof fetchLimited>[1]>) => {
  const error = await get(misbehave, more).catch((error: Error) => error);
  expect(String((error as Error).message)).not.toContain("secret");
  return error;
};

it("gives the bytes of an address, and of a data URL", async () => {
  expect(await get(({ method }, response) => method === "GET" && !!response.writeHead(200).end(BYTES))).toEqual(BYTES);
  expect(await fetchLimited("data:text/plain;base64,aGk=", { what: "image 1", maxBytes: 9 })).toEqual(new TextEncoder().encode("hi"));
});

it("names status, address and what was wanted", async () => {
  expect(await asked(() => false)).toMatchObject({ code: "network", message: expect.stringMatching(/^image 1: http.*a\.png answers 404/) });
});

it.each<[string, Misbehave]>([
  ["a length that is told", (_, response) => !!response.writeHead(200, { "content-length": 30_000 }).write(noise(10))],
  ["no length", (_, response) => !!response.writeHead(200).end(noise(30_000))],
  [
    "compressed bytes that grow",
    (_, response) => !!response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(new Uint8Array(1e7))),
  ],
])("stops at the limit: %s", async (_, misbehave) => {
  expect(await asked((...args) => misbehave(...args) || true)).toMatchObject({
    code: "limit-exceeded",
    message: expect.stringMatching(/^image 1 .* has .*, the limit is 20\.0 kB$/),
  });
});

it("an endless body ends at the limit", async () => {
  const endless: Misbehave = (_, response) => {
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && response.write(BYTES));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
    return true;
  };
  expect(await asked(endless)).toMatchObject({ code: "limit-exceeded" });
});

/** An answer that is here at once, as that of a server on a busy machine is not, and has no end. */
const half = async () => new Response(new ReadableStream({ start: (body) => body.enqueue(noise(10)) }));
it.each<[string, typeof fetch, RegExp]>([
  ["no answer", fetch, /no answer came for 0\.1 s/],
  ["half an answer", half, /no byte came for 0\.1 s/],
])("a server that falls silent: %s", async (_, fetch, says) => {
  expect(await asked(() => true, { idleMs: 100, fetch })).toMatchObject({
    code: "network",
    message: expect.stringMatching(says),
  });
});

it("ends with the signal, also while nothing comes", async () => {
  const abort = new AbortController();
  const error = asked(() => !!setTimeout(() => abort.abort(), 20), { signal: abort.signal });
  expect(await error).toMatchObject({ code: "aborted", name: "AbortError" });
  const broken = await asked(
    (_, response) => response.writeHead(200, { "content-length": 100 }).write("x", () => response.destroy()) || true,
  );
  expect(broken).toMatchObject({ code: "network" });
});

it.each(["http://", "nonsense", "http://user:secret@ho st/", "http://user:secret@host/"])("%j is not an address", async (url) => {
  const error = await fetchLimited(url, { what: "image 1", maxBytes: 9 }).catch((error: Error) => error);
  expect(error).toMatchObject({ code: "bad-input" });
  expect((error as Error).message).not.toContain("secret");
});
