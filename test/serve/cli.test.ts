import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { pathOf } from "./pictures.ts";
import { chunksOf, TRIANGLE } from "./server.ts";

const main = pathOf("dist/tools/cli/main.js");
const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

interface Served {
  child: ChildProcess;
  url: string;
  /** What it has said on stderr so far. */
  said(): string;
  code: Promise<number | null>;
}

/** Starts `internvl serve` on any free port; it answers when this resolves, its model may not. */
async function serve(...args: string[]): Promise<Served> {
  const child = spawn(process.execPath, [main, "serve", "--port", "0", "--json", ...args]);
  started.push(child);
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString();
  });
  const code = new Promise<number | null>((resolve) => child.once("close", resolve));
  const line = new Promise<string>((resolve) => child.stdout.once("data", (data: Buffer) => resolve(data.toString())));
  const first = await Promise.race([line, code.then((ended) => Promise.reject(new Error(`ended with ${ended}: ${stderr}`)))]);
  const { url } = JSON.parse(first) as { url: string };
  return { child, url, said: () => stderr, code };
}

async function healthy(url: string): Promise<string[]> {
  const seen: string[] = [];
  while (true) {
    const response = await fetch(`${url}/health`);
    const { status } = (await response.json()) as { status: string };
    expect(response.status).toBe(status === "ok" ? 200 : 503);
    if (seen.at(-1) !== status) seen.push(status);
    if (status === "ok") return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const post = (url: string, body: object) =>
  fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

const LONG = { ...TRIANGLE, messages: [{ role: "user", content: "Count." }], temperature: 2, seed: 1, max_tokens: 60, stream: true };

/** The blocks of docs/serving.md in a language, each with the line before it. */
const snippets = (language: string): string[] =>
  [...readFileSync(pathOf("docs/serving.md"), "utf8").matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map(
    ([, code]) => code!,
  );

describe("docs/serving.md", () => {
  it("its snippets work as they stand", async () => {
    const { url } = await serve();
    await healthy(url);
    const here = (code: string) => code.replaceAll("http://127.0.0.1:23333", url);
    const run = async (command: string, ...args: string[]) =>
      (
        await promisify(execFile)(command, args, { cwd: pathOf("") }).catch((error) =>
          Promise.reject(new Error(`${args}: ${error.stderr}`)),
        )
      ).stdout;
    const folder = mkdtempSync(pathOf("test/serve/snippets-")); // where packages are found
    try {
      const shell = snippets("sh").filter((code) => code.includes("curl"));
      const scripts = snippets("js");
      expect([shell.length, scripts.length]).toEqual([1, 7]);
      for (const code of shell) expect(await run("bash", "-c", here(code))).toContain('"content":"A triangle."');
      for (const [i, code] of scripts.entries()) {
        writeFileSync(join(folder, `${i}.mjs`), here(code));
        expect((await run(process.execPath, join(folder, `${i}.mjs`))).trim(), code).toBe("A triangle.");
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("internvl serve", () => {
  it("answers at once that it loads, then questions; SIGTERM lets what runs end, and nothing else begin", async () => {
    const { child, url, code, said } = await serve();
    const early = await post(url, TRIANGLE);
    if (early.status !== 200) expect([early.status, (await early.json()).error.code]).toEqual([503, "loading"]);
    expect((await healthy(url)).at(-1)).toBe("ok");
    const running = await post(url, LONG);
    child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 300));
    const refused = await post(url, TRIANGLE).then(
      ({ status }) => status,
      () => "no connection",
    );
    expect([503, "no connection"]).toContain(refused);
    const text = await running.text();
    expect(text.trimEnd().endsWith("data: [DONE]")).toBe(true);
    expect(chunksOf(text).at(-1).choices[0].finish_reason).toMatch(/stop|length/);
    expect(await code).toBe(0);
    expect(said()).not.toContain("Count"); // nothing of a prompt
  });

  it("a second signal ends it at once", async () => {
    const { child, url, code } = await serve();
    await healthy(url);
    const running = await post(url, { ...LONG, max_tokens: 2000, n: 8 });
    child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 400));
    child.kill("SIGTERM");
    expect(await code).toBe(143);
    await running.text().catch(() => {});
  });

  it("a signal while it loads ends it; a model that does not load is told, with exit code 1", async () => {
    const { child, code } = await serve();
    child.kill("SIGTERM");
    expect(await code).toBe(0);
    const missing = await serve("--model", pathOf("test/none")).catch((error: Error) => error.message);
    if (typeof missing === "string") expect(missing).toContain("ended with 1");
    else expect(await missing.code).toBe(1);
  });

  it("says what is wrong before anything is loaded", async () => {
    const { url } = await serve();
    const { port } = new URL(url);
    await expect(serve("--port", port)).rejects.toThrow(/ended with 2: .*something listens there already/s);
    await expect(serve("--port", "70000")).rejects.toThrow(/ended with 2: .*whole number/s);
  });

  it("warns where anybody can reach it without a key", async () => {
    const { said } = await serve("--host", "0.0.0.0");
    await expect.poll(said).toContain("give --api-key");
  });
});
