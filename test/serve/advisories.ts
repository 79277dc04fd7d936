import dns from "node:dns/promises";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { expect, it, vi } from "vitest";
import { EngineError, InternVL } from "../../src/index.ts";
import { fetchPublic } from "../../src/platform/node-media.ts";
import type { ByteSource } from "../../src/safetensors/types.ts";
import { createHandler, type ServerOptions } from "../../src/server.ts";
import { memoryFiles, tinyCheckpoint } from "../support.ts";
import { fixtureUrl } from "./pictures.ts";
import { innerServer, MODEL, type Running, TRIANGLE } from "./server.ts";

const word = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const crcOf = (bytes: Buffer): number => {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
};
const chunk = (type: string, data: Buffer) => {
  const body = Buffer.concat([Buffer.from(type), data]);
  return Buffer.concat([word(data.length), body, word(crcOf(body))]);
};
/** A PNG in grey whose header says `width` × `height`, and whose pixels are `data` (as a zlib stream). */
const png = (width: number, height: number, data: Buffer): string => {
  const header = Buffer.concat([word(width), word(height), Buffer.from([8, 0, 0, 0, 0])]);
  const signature = Buffer.from("89504e470d0a1a0a", "hex");
  const file = Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]);
  return `data:image/png;base64,${file.toString("base64")}`;
};

/** More of what was published of servers of this kind (security.ts has the rest): each number, theirs too, was looked up in copies of GitHub's or NVD's database. */
export function advisorySuite(running: () => Running): void {
  const ask = async (body: unknown, options: ServerOptions = {}, path = "/v1/chat/completions") => {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await createHandler(running().vlm, { model: MODEL, ...options })(new Request(`http://localhost${path}`, init));
    return { status: response.status, body: await response.text() };
  };
  const picture = (...urls: string[]) => ({
    ...TRIANGLE,
    max_tokens: 1,
    messages: [{ role: "user", content: urls.map((url) => ({ type: "image_url", image_url: { url } })) }],
  });
  const alive = async () => expect(JSON.parse((await ask(TRIANGLE)).body).choices[0].message.content).toBe("A triangle.");
  /** What the server sends to bytes as they stand, until it closes. */
  const raw = (bytes: string) =>
    new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(running().url).port), "127.0.0.1");
      let answer = "";
      const end = () => {
        socket.destroy();
        resolve(answer);
      };
      socket.on("data", (data: Buffer) => (answer += data.toString()));
      socket.on("close", end).on("error", end);
      socket.write(bytes);
    });

  it("vLLM GHSA-v359-jj2v-j536 (CVE-2026-25960), GHSA-pf3h-qjgv-vcpr (CVE-2026-34753): however an inner address is written, nobody asks there", async () => {
    const inner = await innerServer();
    const { port } = inner;
    const hosts = [
      "2130706433",
      "0x7f000001",
      "0177.0.0.1",
      "127.1",
      "0",
      "localhost.",
      "LOCALHOST",
      "[::ffff:7f00:1]",
      "[0:0:0:0:0:ffff:127.0.0.1]",
      "[64:ff9b::7f00:1]",
      "[::]",
      "１２７.0.0.1",
      "127。0。0。1",
    ];
    for (const host of hosts) {
      const address = `http://${host}:${port}/a.png`;
      const { status, body } = await ask(picture(address), { allowImagesFrom: [new URL(address).host] });
      expect([status, body.includes("secret")], host).toEqual([400, false]);
    }
    for (const odd of [`http://127.0.0.1:${port}\\@pictures.example/a.png`, `http://pictures.example\\@127.0.0.1:${port}/a.png`])
      expect((await ask(picture(odd), { allowImagesFrom: ["pictures.example"] })).status, odd).toBe(400);
    expect(inner.asked).toBe(0);
    inner.close();
  });

  it("DNS rebinding: a name is looked up once, all of its addresses have to be public, and the connection goes to what was looked at", async () => {
    const answers = [[{ address: "93.184.216.34", family: 4 }], [{ address: "127.0.0.1", family: 4 }]];
    const lookup = vi.spyOn(dns, "lookup").mockImplementation((async () => answers.shift()) as never);
    syncBuiltinESMExports(); // also for those who have imported it by its name
    try {
      const fetched = fetchPublic(new URL("http://pictures.example:9/a.png"), { maxBytes: 100, seconds: 0.3 }).catch((error) => error);
      expect(await fetched).toBeInstanceOf(EngineError);
      expect(lookup).toHaveBeenCalledTimes(1);
      lookup.mockImplementation((async () => [
        { address: "93.184.216.34", family: 4 },
        { address: "10.0.0.1", family: 4 },
      ]) as never);
      const mixed = await fetchPublic(new URL("http://pictures.example:9/a.png"), { maxBytes: 100, seconds: 0.3 }).catch((error) => error);
      expect(mixed.message).toContain("not one of the internet");
    } finally {
      lookup.mockRestore();
      syncBuiltinESMExports();
    }
  });

  it("pictures of allowed hosts have as many bytes as a body, all together", async () => {
    const file = Buffer.from(fixtureUrl("card-1").split(",")[1]!, "base64");
    const folder = mkdtempSync(join(tmpdir(), "internvl-media-"));
    writeFileSync(join(folder, "a.png"), file);
    const options = { mediaRoot: folder, maxBody: Math.floor(2.5 * file.length) };
    expect((await ask(picture("file:a.png", "file:a.png"), options)).status).toBe(200);
    const over = await ask(picture("file:a.png", "file:a.png", "file:a.png"), options);
    expect([over.status, JSON.parse(over.body).error.code]).toEqual([400, "limit_exceeded"]);
    rmSync(folder, { recursive: true });
  });

  it("vLLM GHSA-rxc4-3w6r-4v47 (CVE-2025-48956): headers have an end", async () => {
    expect(await raw(`GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Large: ${"a".repeat(2 ** 20)}\r\n\r\n`)).toMatch(
      /^(HTTP\/1.1 431|$)/,
    );
    const many = Array.from({ length: 5000 }, (_, i) => `X-${i}: a\r\n`).join("");
    expect(await raw(`GET /v1/models HTTP/1.1\r\nHost: localhost\r\n${many}\r\n`)).toMatch(/^(HTTP\/1.1 431|$)/);
    await alive();
  });

  it("header smuggling: two lengths, a length beside chunks, odd whitespace and two hosts are no request", async () => {
    const head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    const inner = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const odd = [
      `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}${inner}`,
      `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
      `${head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${inner}`,
      `${head}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${inner}`,
      `${head}Content-Length: +2\r\n\r\n{}${inner}`,
      `${head}X: a\r\n folded: b\r\n\u0000\r\n\r\n${inner}`,
    ];
    for (const bytes of odd) {
      const answer = await raw(bytes);
      expect(answer, JSON.stringify(bytes)).toMatch(/^(HTTP\/1.1 400|$)/);
      expect(answer).not.toContain("vllm:");
    }
    await alive();
  });

  it("vLLM GHSA-pq5c-rjhq-qp7p (CVE-2026-34755), GHSA-wcwg-c5fc-9vrc (CVE-2026-5497): a video has as many frames as a request has pictures", async () => {
    const frame = fixtureUrl("card-1").split(",")[1]!;
    const video = (frames: number) => ({
      ...TRIANGLE,
      messages: [
        {
          role: "user",
          content: [{ type: "video_url", video_url: { url: `data:video/jpeg;base64,${Array(frames).fill(frame).join()}` } }],
        },
      ],
    });
    for (const frames of [65, 3000]) expect((await ask(video(frames))).status, String(frames)).toBe(400);
    expect((await ask(video(1))).status).toBe(200);
    await alive();
  });

  it("pictures as bombs: what a header promises is refused before it is decoded, and what it does not promise is not decoded", async () => {
    const grey = (width: number, height: number) => deflateSync(Buffer.alloc((width + 1) * height), { level: 9 });
    for (const bomb of [
      png(50_000, 50_000, grey(8, 8)),
      png(0xffff_ffff, 0xffff_ffff, grey(8, 8)),
      png(0x7fff_ffff, 1, grey(8, 8)),
      png(0, 5, grey(8, 8)),
    ])
      expect((await ask(picture(bomb))).status).toBe(400);
    const jpeg = Buffer.from("ffd8ffc0000b08ffffffff01011100ffda0008010100003f00", "hex").toString("base64");
    expect((await ask(picture(`data:image/jpeg;base64,${jpeg}`))).status).toBe(400);
    let inflated = 0;
    const Own = DecompressionStream;
    const count = () =>
      new TransformStream<Uint8Array, Uint8Array>({
        transform(bytes, to) {
          inflated += bytes.length;
          to.enqueue(bytes);
        },
      });
    class Counted {
      readonly readable: ReadableStream;
      readonly writable: WritableStream;
      constructor(format: CompressionFormat) {
        const { readable, writable } = new Own(format);
        [this.readable, this.writable] = [readable.pipeThrough(count()), writable];
      }
    }
    vi.stubGlobal("DecompressionStream", Counted);
    const zip = await ask(picture(png(8, 8, deflateSync(Buffer.alloc(300 * 2 ** 20), { level: 9 })))).finally(() => vi.unstubAllGlobals());
    expect([200, 400]).toContain(zip.status);
    expect(inflated).toBeGreaterThan(0);
    expect(inflated).toBeLessThan(20 * 2 ** 20);
    await alive();
  });

  it("xgrammar GHSA-7rgv-gqhr-fxg3 (CVE-2026-25048): what is nested a hundred thousand times ends no process", async () => {
    const nested = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);
    const send = async (json: string) => {
      const init = { method: "POST", headers: { "content-type": "application/json" }, body: json };
      return (await createHandler(running().vlm, { model: MODEL })(new Request("http://localhost/v1/chat/completions", init))).status;
    };
    const text = (fields: string) =>
      `{"model":"${MODEL}","temperature":0,"max_tokens":1,"messages":[{"role":"user","content":"Hi"}],${fields}}`;
    for (const deep of [nested(100_000, "[", "]"), `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`]) {
      expect(await send(deep)).toBe(400);
      expect(await send(text(`"metadata":${deep}`))).toBeLessThan(500);
      expect(await send(text(`"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":${deep}}}}]`))).toBeLessThan(
        500,
      );
      expect(
        await send(text(`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"properties":${deep}}}}`)),
      ).toBeLessThan(500);
      expect(await send(`{"messages":${deep}}`)).toBe(400);
    }
    await alive();
  });

  it("vLLM GHSA-j828-28rj-hfhp: no pattern runs back and forth over a long text", async () => {
    const long = 2 ** 20;
    const texts = [
      " ".repeat(long),
      "/".repeat(long),
      "\n".repeat(long),
      "a@".repeat(long / 2),
      "data:,".repeat(long / 8),
      "<tool_call>".repeat(long / 16),
      "<".repeat(long),
    ];
    for (const each of texts) {
      const fields = [
        { model: each },
        { stop: each },
        { user: each, max_tokens: 1, messages: [{ role: "user", content: "Hi" }] },
        picture(each),
        picture(`data:${each}`),
        picture(`data:image/png;base64,${each}`),
        { messages: [{ role: each, content: "Hi" }] },
        { tools: [{ type: "function", function: { name: each } }] },
        { [each.slice(0, 1000)]: 1 },
      ];
      for (const field of fields) expect((await ask({ ...TRIANGLE, ...field })).status).toBeLessThan(500);
      expect((await ask({ ...TRIANGLE, messages: [{ role: "user", content: each }], max_tokens: 1 })).status).toBe(400); // the context
    }
    await alive();
  });

  it("vLLM GHSA-hgg8-fqqc-vfmw (CVE-2026-54236): errors of every endpoint say nothing of the inside, and repeat no more than a line of what was sent", async () => {
    const paths = ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"];
    const bodies: unknown[] = [
      picture("data:image/png;base64,iVBORw0KGgo="),
      { prompt: {} },
      { tokens: [{}] },
      { model: "x".repeat(10_000) },
      [],
      "x",
      null,
      5,
    ];
    for (const path of paths) {
      for (const each of bodies) {
        const { status, body } = await ask(each, {}, path);
        expect([400, 404], `${path} ${JSON.stringify(each)?.slice(0, 40)}`).toContain(status);
        expect(body).not.toMatch(/0x[0-9a-f]{6}|node_modules|\.ts:|\/src\/|at Object/);
        expect(body.length).toBeLessThan(1000);
      }
    }
  });

  it("log and metrics injection: nothing of a request is written there", async () => {
    const log = (["log", "warn", "error", "info"] as const).map((name) => vi.spyOn(console, name).mockImplementation(() => {}));
    const out = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, "write").mockImplementation(() => true));
    const evil = 'x"} 1\nvllm:num_requests_running{a="b';
    const paths = ["/v1/%0A%22evil", "/evil%1b[31m", `/v1/models/${encodeURIComponent(evil)}`];
    for (const path of paths) await fetch(running().url + path);
    await ask({ ...TRIANGLE, model: evil, user: evil });
    await ask({ ...TRIANGLE, [evil]: evil });
    const written = [...log, ...out].flatMap(({ mock }) => mock.calls.map(([first]) => String(first)));
    for (const spy of [...log, ...out]) spy.mockRestore();
    expect(written.filter((line) => /evil|num_requests/.test(line))).toEqual([]);
    const metrics = await (await fetch(`${running().url}/metrics`)).text();
    expect(metrics).not.toContain("evil");
    expect(metrics.match(/^vllm:num_requests_running\{.*$/gm)!.length).toBe(1);
  });

  it("LMDeploy GHSA-9pf3-7rrr-x5jh (CVE-2025-67729), GHSA-m549-qq94-fvhg (CVE-2026-46432), GHSA-9xq9-36w5-q796 (CVE-2026-46517): no pickle is read, no code of a checkpoint", async () => {
    const { "model.safetensors": weights, "config.json": config, ...rest } = tinyCheckpoint("tiny-qwen", 0);
    const code = { auto_map: { AutoConfig: "evil.InternVLChatConfig", AutoModel: "evil.InternVLChatModel" } };
    const files = {
      ...rest,
      "config.json": Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(config!).toString()), ...code })),
      "pytorch_model.bin": Buffer.from("\u0080\u0004cos\nsystem\n"),
      "evil.py": Buffer.from("raise SystemExit"),
    };
    const reads: string[] = [];
    const source = memoryFiles(files);
    const open = async (name: string) => {
      const file = await source.open(name);
      const read: ByteSource["read"] = (...range) => {
        reads.push(name);
        return file!.read(...range);
      };
      return file && { name: file.name, size: file.size, read };
    };
    const watched = { ...source, open };
    const error = await InternVL.load(watched).then(
      () => undefined,
      (thrown) => thrown as EngineError,
    );
    expect(error!.code).toBe("bad-weights");
    expect(reads).toContain("config.json");
    expect(reads.filter((name) => /\.(bin|pt|pth|py|pkl)$/.test(name))).toEqual([]);
    expect(weights!.length).toBeGreaterThan(0);
  });
}
