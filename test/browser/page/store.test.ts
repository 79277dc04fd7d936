import { afterEach, describe, expect, it } from "vitest";
import { platform } from "#platform";
import { readSmall } from "../../../src/hub/source.ts";
import { webStore } from "../../../src/platform/web-store.ts";
import { fetchSource } from "../../fetched.ts";
import { STORE_CASES } from "../../store-cases.ts";

const ROOT = "internvl-test";

afterEach(async () => {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(ROOT, { recursive: true }).catch(() => {}); // a case may have written nothing
});

describe("the browser's private file system, in a page", () => {
  it.each(Object.entries(STORE_CASES))("%s", (_, body) => body(webStore(ROOT)));
});

describe("the browser's private file system, in a worker", () => {
  it.each(Object.keys(STORE_CASES))("%s", async (name) => {
    const worker = new Worker(new URL("./store-worker.ts", import.meta.url), { type: "module" });
    try {
      const outcome = await new Promise((fulfil, reject) => {
        worker.onmessage = ({ data }) => fulfil(data);
        worker.onerror = ({ message }) => reject(new Error(message || "the worker did not start"));
        worker.postMessage({ name, root: ROOT });
      });
      expect(outcome).toBe("passed");
    } finally {
      worker.terminate();
    }
  });
});

describe("a damaged store", () => {
  it("links that lead round in a circle end in an error", async () => {
    const store = webStore(ROOT);
    await store.link("self", "self");
    await store.link("two", "one");
    await store.link("one", "two");
    for (const path of ["self", "one", "two"]) {
      await expect(store.open(path)).rejects.toMatchObject({ code: "bad-weights", message: expect.stringContaining("round in a circle") });
    }
  });

  it("a folder in a file's place, and a link to nowhere that can be", async () => {
    const store = webStore(ROOT);
    await store.writeText("folder/file", "x");
    await expect(store.open("folder")).rejects.toMatchObject({ code: "bad-weights" });
    await expect(store.readText("folder")).rejects.toMatchObject({ code: "bad-weights" });
    await store.link("../../x", "up");
    await expect(store.open("up")).rejects.toMatchObject({ code: "bad-weights" });
  });
});

describe("a load in a page", () => {
  /** A server in the page itself: what it gives, and what it was asked. */
  function server(files: Record<string, string>) {
    const asked: string[] = [];
    const answer = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
      const name = String(input).split("/").at(-1)!;
      asked.push(`${init?.method} ${name}`);
      const text = files[name];
      if (text === undefined) return new Response(null, { status: 404 });
      const headers = { etag: `"${name}-1"`, "content-length": String(text.length), "x-repo-commit": "0".repeat(40) };
      return new Response(init?.method === "HEAD" ? null : text, { headers });
    };
    return { answer: answer as typeof fetch, asked };
  }

  it("keeps what it fetched, and fetches nothing the next time", async () => {
    const { answer, asked } = server({ "config.json": "{}", "model.safetensors": "weights" });
    const options = { endpoint: "https://hub.test", cacheDir: ROOT, fetch: answer };
    for (const gets of [2, 0]) {
      asked.length = 0;
      const source = await fetchSource("org/model", options);
      expect(new TextDecoder().decode((await readSmall(source, "model.safetensors"))!)).toBe("weights");
      expect(asked.filter((each) => each.startsWith("GET"))).toHaveLength(gets);
    }
  });

  it("checks the quota first, and tells both numbers", async () => {
    const big: typeof fetch = async (input, init) => {
      const { answer } = server({ "config.json": "{}", "model.safetensors": "w" });
      const response = await answer(input, init);
      if (!String(input).endsWith("model.safetensors")) return response;
      return new Response(null, { headers: { etag: '"x"', "content-length": String(2 ** 52), "x-repo-commit": "0".repeat(40) } });
    };
    await expect(fetchSource("org/model", { endpoint: "https://hub.test", cacheDir: ROOT, fetch: big })).rejects.toMatchObject({
      code: "limit-exceeded",
      message: expect.stringMatching(/needs 4503599\.6 GB more in the browser's storage, which has room for [\d.]+ [GM]B/),
    });
  });

  it("has no folders, and says so", async () => {
    for (const folder of ["./folder", "/models/InternVL2_5-1B"])
      await expect(fetchSource(folder)).rejects.toMatchObject({
        code: "bad-input",
        message: `a page cannot read the local folder ${JSON.stringify(folder)}`,
        hint: expect.stringMatching(
          /^give the whole address of a folder on a server, new URL\(path, location.href\), or a Hugging Face id/,
        ),
      });
    expect(platform.env("HF_TOKEN")).toBeUndefined();
  });
});
