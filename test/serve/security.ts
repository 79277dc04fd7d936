import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, request as rawRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { fetchPublic, isPublic } from "../../src/platform/node-media.ts";
import { createHandler, type ServerOptions } from "../../src/server.ts";
import { fixtureUrl } from "./pictures.ts";
import { about, innerServer, MODEL, type Running, TRIANGLE } from "./server.ts";

const CHAT = "http://localhost/v1/chat/completions";

/**
 * What was published about servers of this kind, each with a test that this one has not got it.
 * Named by the advisory of vLLM, llama.cpp or LMDeploy.
 */
export function securitySuite(running: () => Running): void {
  const handler = (options: ServerOptions = {}) => createHandler(running().vlm, { model: MODEL, ...options });
  const ask = async (body: unknown, options: ServerOptions = {}, url = CHAT, init: RequestInit = {}) => {
    const request = new Request(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...init,
    });
    const response = await handler(options)(request);
    return { status: response.status, body: await response.text(), headers: response.headers };
  };
  const picture = (url: string) => ({ ...TRIANGLE, messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }] });
  const alive = async () => expect(JSON.parse((await ask(TRIANGLE)).body).choices[0].message.content).toBe("A triangle.");

  it("vLLM GHSA-3f6c-7fw2-ppm4 (CVE-2025-6242), LMDeploy GHSA-6w67-hwm5-92mq (CVE-2026-33626): pictures' addresses reach no inner network", async () => {
    const inner = await innerServer();
    const { port } = inner;
    const hosts = [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, `[::ffff:127.0.0.1]:${port}`, "169.254.169.254", "10.0.0.1"];
    const seen = hosts.map((host) => new URL(`http://${host}`).host);
    for (const host of hosts) {
      expect((await ask(picture(`http://${host}/a.png`))).status, host).toBe(400); // by default nothing is fetched
      const allowed = await ask(picture(`http://${host}/a.png`), { allowImagesFrom: seen });
      expect(allowed.status, host).toBe(400); // nor where somebody has allowed it by name
      expect(allowed.body).not.toContain("secret");
    }
    expect(inner.asked).toBe(0);
    inner.close();
  });

  it("vLLM GHSA-qh4c-xf7m-gxfc (CVE-2026-24779): one parser reads an address, whatever is odd in it", async () => {
    const allowImagesFrom = ["pictures.example"];
    const odd = [
      "http://127.0.0.1\\@pictures.example/a.png",
      "http://pictures.example@127.0.0.1/a.png",
      "http://127.0.0.1#@pictures.example/",
      "http:\\\\127.0.0.1\\a.png",
      "http://0x7f.1/a.png",
      "http://2130706433/",
    ];
    for (const url of odd) {
      const { status, body } = await ask(picture(url), { allowImagesFrom });
      expect([status, JSON.parse(body).error.param], url).toEqual([400, "messages[0].content[0].image_url.url"]);
    }
  });

  it("an address of the internet is told from all others", () => {
    for (const address of ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"]) expect(isPublic(address), address).toBe(true);
    const inner = [
      "127.0.0.1",
      "10.1.2.3",
      "172.31.0.1",
      "192.168.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "0.0.0.0",
      "224.0.0.1",
      "255.255.255.255",
    ];
    const inner6 = [
      "::1",
      "::",
      "::ffff:127.0.0.1",
      "::ffff:8.8.8.8",
      "fe80::1",
      "fc00::1",
      "64:ff9b::7f00:1",
      "2002:7f00:1::",
      "2001:db8::1",
      "ff02::1",
      "x",
    ];
    for (const address of [...inner, ...inner6]) expect(isPublic(address), address).toBe(false);
  });

  it("what an allowed host sends is a picture, whole, small, in time, and no redirect", async () => {
    const png = Buffer.from(fixtureUrl("card-1").split(",")[1]!, "base64");
    const outer = createServer(({ url }, response) => {
      if (url === "/redirect") return response.writeHead(302, { location: "/a.png" }).end();
      if (url === "/html") return response.writeHead(200, { "content-type": "text/html" }).end("x");
      if (url === "/large") return response.writeHead(200, { "content-type": "image/png" }).end(Buffer.alloc(2000));
      if (url === "/none") return response.writeHead(404).end();
      if (url === "/silent") return response.writeHead(200, { "content-type": "image/png" }).write("x");
      return response.writeHead(200, { "content-type": "image/png" }).end(png);
    });
    await new Promise<void>((resolve) => outer.listen(0, "127.0.0.1", resolve));
    const base = `http://localhost:${(outer.address() as AddressInfo).port}`;
    const fetched = (path: string, maxBytes = 1000, seconds = 5) =>
      fetchPublic(new URL(base + path), { maxBytes, seconds }, () => true).then(
        (bytes) => bytes.length,
        (error) => `${error.code}: ${error.message}`,
      );
    expect(await fetched("/a.png", 1e6)).toBe(png.length);
    expect(await fetched("/redirect")).toContain("redirect");
    expect(await fetched("/html")).toContain("not a picture");
    expect(await fetched("/large")).toContain("limit-exceeded");
    expect(await fetched("/none")).toContain("404");
    expect(await fetched("/silent", 1000, 0.2)).toContain("in 0.2 s");
    outer.closeAllConnections();
    outer.close();
  });

  it("files are opened below the media folder only, links or not", async () => {
    const folder = mkdtempSync(join(tmpdir(), "internvl-media-"));
    mkdirSync(join(folder, "root"));
    writeFileSync(join(folder, "outside.png"), Buffer.from(fixtureUrl("card-1").split(",")[1]!, "base64"));
    writeFileSync(join(folder, "root", "a b.png"), Buffer.from(fixtureUrl("card-1").split(",")[1]!, "base64"));
    writeFileSync(join(folder, "root", "page.html"), "<html>secret");
    symlinkSync(join(folder, "outside.png"), join(folder, "root", "link.png"));
    const mediaRoot = join(folder, "root");
    const status = async (url: string, options: ServerOptions = { mediaRoot }) =>
      (await ask({ ...picture(url), max_tokens: 1 }, options)).status;
    expect(await status("file:a%20b.png")).toBe(200);
    expect(await status("file:///a%20b.png")).toBe(200);
    expect(await status("file:a%20b.png", {})).toBe(400);
    for (const url of [
      "file:../outside.png",
      "file:%2e%2e/outside.png",
      "file:..%2foutside.png",
      "file:link.png",
      "file:page.html",
      "file:/etc/passwd",
      "file:.",
      "file:none.png",
      "file://host/a b.png",
      "file:a%00.png",
      "file:%zz",
      "/etc/passwd",
    ]) {
      expect(await status(url), url).toBe(400);
    }
    rmSync(folder, { recursive: true });
  });

  it("vLLM GHSA-wr9h-g72x-mwhm (CVE-2025-59425): the key is compared by digests; everything but /health needs it", async () => {
    const apiKey = "sk-right";
    const status = async (path: string, key?: string, method = "GET") =>
      (
        await handler({ apiKey })(
          new Request(`http://localhost${path}`, { method, headers: key === undefined ? {} : { authorization: key } }),
        )
      ).status;
    for (const path of ["/v1/models", "/metrics", "/v1/chat/completions", "/none", "//v1/models", "/v1/../v1/models"]) {
      for (const key of [undefined, "", "Bearer", "Bearer ", "Bearer sk-wron", "Bearer sk-right2", "Basic sk-right", "sk-right"]) {
        expect(await status(path, key), `${path} ${key}`).toBe(401);
      }
    }
    expect(await status("/health")).toBe(200);
    expect(await status("/v1/models", "Bearer sk-right")).toBe(200);
  });

  it("vLLM GHSA-94f4-hr76-p5j6 (CVE-2026-48746): the Host header does not choose what needs a key", async () => {
    const { url } = running();
    const { port } = new URL(url);
    const [{ listening }] = await Promise.all([import("./server.ts")]);
    const guarded = await listening(handler({ apiKey: "k" }));
    const status = (host: string) =>
      new Promise((resolve) => {
        rawRequest(guarded.url, { path: "/v1/models", headers: { host } }, (response) => resolve(response.statusCode))
          .on("error", () => resolve("refused"))
          .end();
      });
    for (const host of ["x/health?", `localhost:${port}/health`, "a#", "x/health", "[", ""])
      expect([400, 401, "refused"]).toContain(await status(host));
    guarded.server.closeAllConnections();
    guarded.server.close();
  });

  it("a page that reaches this machine by a name of its own is refused, and so is a form's content type; CORS is off", async () => {
    const hosts = ["localhost", "127.0.0.1"];
    expect((await ask(TRIANGLE, { hosts }, "http://evil.example/v1/chat/completions")).status).toBe(403);
    expect((await ask(TRIANGLE, { hosts })).status).toBe(200);
    const form = await ask(TRIANGLE, {}, CHAT, { headers: { "content-type": "text/plain", origin: "http://evil.example" } });
    expect(form.status).toBe(415);
    const preflight = async (options: ServerOptions) => {
      const response = await handler(options)(new Request(CHAT, { method: "OPTIONS", headers: { origin: "http://a.example" } }));
      return [response.status, response.headers.get("access-control-allow-origin")];
    };
    expect(await preflight({})).toEqual([403, null]);
    expect(await preflight({ cors: "http://a.example" })).toEqual([204, "http://a.example"]);
    expect(await preflight({ cors: "http://b.example" })).toEqual([403, null]);
    // A client in a page sends headers of its own, and reads when to come again.
    const headers = { origin: "http://a.example", "access-control-request-headers": "authorization,content-type,x-stainless-lang" };
    const { headers: allowed } = await handler({ cors: "*" })(new Request(CHAT, { method: "OPTIONS", headers }));
    expect(allowed.get("access-control-allow-headers")).toBe("authorization,content-type,x-stainless-lang");
    expect(allowed.get("access-control-expose-headers")).toBe("x-request-id, retry-after");
    const refused = await ask(TRIANGLE, { hosts: ["localhost"] }, "http://vlm/v1/chat/completions");
    expect(refused.body).toMatch(/localhost.*--allow-hosts/); // what a proxy's operator has to do
  });

  it("every response has an id, the router's own where it gave one", async () => {
    const idOf = async (path: string, id?: string, body?: object) => {
      const headers = { "content-type": "application/json", ...(id === undefined ? {} : { "x-request-id": id }) };
      const init = body ? { method: "POST", body: JSON.stringify(body), headers } : { headers };
      const response = await handler()(new Request(`http://localhost${path}`, init));
      await response.text();
      return response.headers.get("x-request-id");
    };
    const own = await idOf("/health");
    expect(own).toMatch(/^req-[0-9a-f]{32}$/);
    expect(await idOf("/health")).not.toBe(own);
    for (const body of [TRIANGLE, { ...TRIANGLE, stream: true }, { ...TRIANGLE, n: "x" }])
      expect(await idOf("/v1/chat/completions", "router-1:a.b_c", body)).toBe("router-1:a.b_c");
    expect(await idOf("/none", "router-2")).toBe("router-2");
    for (const odd of ["a b", "a;b", "x".repeat(129)]) expect(await idOf("/health", odd)).toMatch(/^req-/);
  });

  it("a content type may have a space before its parameters", async () => {
    const headers = { "content-type": "application/json ; charset=utf-8" };
    expect((await ask(TRIANGLE, {}, CHAT, { headers })).status).toBe(200);
    expect((await ask(TRIANGLE, {}, CHAT, { headers: { "content-type": "application/json x" } })).status).toBe(415);
  });

  it("vLLM GHSA-3mwp-wvh9-7528 (CVE-2026-34756), CVE-2024-8939: n and best_of have an end", async () => {
    for (const more of [{ n: 1_000_000_000 }, { n: 129 }, { best_of: 1e6 }]) expect((await ask({ ...TRIANGLE, ...more })).status).toBe(400);
    expect((await ask({ model: MODEL, prompt: Array(129).fill("x") }, {}, "http://localhost/v1/completions")).status).toBe(400);
    expect((await ask({ model: MODEL, prompt: Array(100).fill("x"), n: 2 }, {}, "http://localhost/v1/completions")).status).toBe(400);
    await alive();
  });

  it("vLLM GHSA-w2r7-9579-27hf (CVE-2024-8768): an empty prompt is an answer of its own, not the server's end", async () => {
    for (const prompt of ["", [], [""], [[]]])
      expect((await ask({ model: MODEL, prompt }, {}, "http://localhost/v1/completions")).status).toBe(400);
    expect((await ask({ ...TRIANGLE, messages: [{ role: "user", content: "" }], max_tokens: 1 })).status).toBe(200);
    await alive();
  });

  it("vLLM GHSA-6fvq-23cw-5628 (CVE-2025-61620), GHSA-69j4-grxj-j64p (CVE-2025-62426), GHSA-mrw7-hf4f-83pf (CVE-2025-62164): no template, no tensors in a request", async () => {
    const fields = {
      chat_template: "{{ 1/0 }}",
      chat_template_kwargs: { tokenize: false },
      prompt_embeds: "AAAA",
      mm_processor_kwargs: {},
    };
    for (const [field, value] of Object.entries(fields)) expect((await ask({ ...TRIANGLE, [field]: value })).status, field).toBe(400);
    expect((await ask({ messages: TRIANGLE.messages, chat_template_kwargs: {} }, {}, "http://localhost/tokenize")).status).toBe(400);
    await alive();
  });

  it("vLLM GHSA-6qc9-v4r8-22xg, GHSA-9hcf-v7m4-6m2j, GHSA-vrq3-r879-7m65 (CVE-2025-48942, -48943, -48944): broken schemas and tools are refused", async () => {
    const tool = (parameters: unknown) => ({ tools: [{ type: "function", function: { name: "f", parameters } }] });
    const broken = [
      { response_format: { type: "json_schema", json_schema: { schema: { type: "nonsense" } } } },
      { guided_regex: "(" },
      tool("x"),
      tool([]),
      { tools: [{}] },
      { tools: 5 },
    ];
    for (const more of broken) expect((await ask({ ...TRIANGLE, ...more })).status, JSON.stringify(more)).toBe(400);
    await alive();
  });

  it("llama.cpp GHSA-8947-pfff-2f3c (CVE-2026-21869): no number of a request reaches the cache unchecked", async () => {
    for (const more of [
      { n_discard: -5 },
      { n_keep: -1 },
      { max_tokens: -5 },
      { id_slot: 99 },
      { max_tokens: 2 ** 60 },
      { seed: 1e300 },
      { top_k: 0.5 },
    ]) {
      expect((await ask({ ...TRIANGLE, ...more })).status, JSON.stringify(more)).toBe(400);
    }
    await alive();
  });

  it("llama.cpp GHSA-7rxv-5jhh-j6xx (CVE-2025-52566), vLLM GHSA-vc6m-hm49-g9qg (CVE-2025-46560): long texts of placeholders cost no more than their length", async () => {
    const long = "<image><|im_end|>".repeat(200_000); // 3.4 million characters
    const { status, body } = await ask({ ...TRIANGLE, messages: [{ role: "user", content: long }] }); // quadratic: hours
    expect([status, JSON.parse(body).error.code]).toEqual([400, "context_length_exceeded"]);
    expect((await ask({ prompt: long }, {}, "http://localhost/tokenize")).status).toBe(400);
    await alive();
  });

  it("vLLM GHSA-w6q7-j642-7c25 (CVE-2025-48887), GHSA-79j6-g2m3-jgfw (CVE-2025-9141): an answer's calls are JSON, read once, never run", async () => {
    const { callFinder } = await import("../../src/api/openai-calls.ts");
    const finder = callFinder(true);
    let text = "";
    for (let i = 0; i < 20_000; i++) text += finder.push("<tool_call>{(").text;
    text += finder.end().text;
    expect(text.length).toBe(20_000 * "<tool_call>{(".length);
    const { calls } = callFinder(false).push(
      '<tool_call>\n{"name": "f", "arguments": {"__proto__": {"x": 1}, "code": "process.exit()"}}\n</tool_call>',
    );
    expect(calls[0]!.function).toEqual({ name: "f", arguments: '{"__proto__":{"x":1},"code":"process.exit()"}' });
    for (const damaged of ["<tool_call>\n{'name': f()}\n</tool_call>", '<tool_call>{"name": 5}</tool_call>'])
      expect(callFinder(true).push(damaged)).toEqual({ text: damaged, calls: [] });
  });

  it("vLLM GHSA-c65p-x677-fgj6 (CVE-2025-46722), GHSA-rm76-4mrf-v9r8 (CVE-2025-25183): what is cached is known by SHA-256 of all of it, and ids are compared", async () => {
    const answer = async (card: string) =>
      JSON.parse((await ask({ ...TRIANGLE, messages: [about("Please describe the image shortly.", card)] })).body).choices[0].message
        .content;
    for (const [card, said] of [
      ["card-1", "A red triangle."],
      ["card-2", "A yellow circle."],
      ["card-3", "A yellow cross."],
      ["card-1", "A red triangle."],
    ]) {
      expect(await answer(card!)).toBe(said);
    }
  });

  it("vLLM GHSA-grg2-63fw-f2qr (CVE-2026-22773), GHSA-4r2x-xpjr-7cvv (CVE-2026-22778): tiny and damaged pictures are answered, and errors say nothing of the inside", async () => {
    const tiny = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    expect((await ask({ ...picture(tiny), max_tokens: 1 })).status).toBe(200);
    for (const damaged of [
      tiny.slice(0, 60),
      "data:image/jpeg;base64,/9j/4AAQ",
      "data:image/png;base64,",
      "data:image/gif;base64,R0lGODdh",
      "data:image/png;base64,%%%",
    ]) {
      const { status, body } = await ask(picture(damaged));
      expect(status, damaged).toBe(400);
      expect(body).not.toMatch(/0x[0-9a-f]{6}|node_modules|\.ts:|\/src\/|at Object/);
    }
    await alive();
  });

  it("bodies, pictures and the queue have an end", async () => {
    expect((await ask(TRIANGLE, { maxBody: 100 })).status).toBe(413);
    const two = { ...TRIANGLE, messages: [about("x", "card-1", "card-2")] };
    expect((await ask(two, { maxImages: 1 })).status).toBe(400);
    expect((await ask(TRIANGLE, { maxPixels: 100 })).status).toBe(400);
    const full = handler({ maxQueue: 0 });
    const request = (n: number) =>
      new Request(CHAT, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ ...TRIANGLE, n }) });
    const answers = await Promise.all([full(request(8)), full(request(8))]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 429]);
    const refused = answers.find(({ status }) => status === 429)!;
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect((await refused.json()).error).toMatchObject({ type: "rate_limit_error", code: "overloaded" });
    const late = await ask(
      { ...TRIANGLE, messages: [{ role: "user", content: "Count." }], logit_bias: { 40: 100 }, max_tokens: 1900, n: 8 },
      { maxSeconds: 0.01 },
    );
    expect([late.status, JSON.parse(late.body).error.code]).toEqual([504, "timeout"]);
  });

  it("a body that is declared small and is not, or has no length, is cut off", async () => {
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(32));
      },
    });
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: endless, duplex: "half" } as RequestInit;
    expect((await handler({ maxBody: 2 ** 20 })(new Request(CHAT, init))).status).toBe(413);
    expect(sent).toBeLessThan(2 ** 21);
  });
}
