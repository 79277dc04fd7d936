import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, extname, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, inject, vi } from "vitest";
import { chromiumLaunch } from "../browser/chromium.ts";
import { sendFile } from "../hub-server.ts";
import { pathOf } from "../support.ts";
import { packTarball } from "./packed.ts";

// Projects that install the packed package from the registry, outside of the repository, as a stranger would. In full mode only: minutes, and half a
// gigabyte at a time.

vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const registry = () => spawnSync("npm", ["view", "webgpu@0.6.2", "version"], { encoding: "utf8", timeout: 30_000 });
export const reachable = inject("full") && registry().status === 0;
if (inject("full") && !reachable) console.warn("SKIPPED: the matrix of toolchains installs packages, and the registry cannot be reached");

let browser: Browser;
let folder: string;
export let tarball: string;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  if (!reachable) return;
  folder = mkdtempSync(join(tmpdir(), "internvl-matrix-"));
  tarball = packTarball(folder);
  const launch = await chromiumLaunch();
  browser = await chromium.launch(launch);
  env = environment(launch.executablePath);
});
afterAll(async () => {
  await browser?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** What a user's shell has, not what Vitest adds; on a machine without Vulkan the SwiftShader beside the unpacked browser. */
function environment(executable: string | undefined): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(NODE_ENV|NODE_OPTIONS|VITEST.*|TEST|DEV|PROD|MODE|SSR|BASE_URL|npm_.*)$/.test(name),
  );
  const plain = { ...Object.fromEntries(own), CI: "1", NO_COLOR: "1", NEXT_TELEMETRY_DISABLED: "1" };
  if (!executable || process.env.CHROME) return plain;
  const beside = dirname(executable);
  return {
    ...plain,
    LD_LIBRARY_PATH: [process.env.LD_LIBRARY_PATH, beside].filter(Boolean).join(delimiter),
    VK_ADD_DRIVER_FILES: join(beside, "vk_swiftshader_icd.json"),
  };
}

const running = new Set<ChildProcess>();
const closing = new Set<() => void>();
afterEach(() => {
  for (const { pid } of running) process.kill(-pid!);
  running.clear();
  for (const close of closing) close();
  closing.clear();
});

/** Starts a command of the project's. */
function start(project: string, command: string): ChildProcess {
  const child = spawn("bash", ["-c", command], { cwd: project, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.on("exit", () => running.delete(child));
  return child;
}

/** Runs one to its end; what it prints. @throws Error with all of it where it fails */
export function run(project: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = start(project, command);
    let [out, all] = ["", ""];
    child.stdout!.on("data", (data) => {
      out += data;
      all += data;
    });
    child.stderr!.on("data", (data) => {
      all += data;
    });
    child.on("close", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`${command} ended with ${code}:\n${all}`))));
  });
}

/** Starts a server; the address that it prints. */
export function serve(project: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = start(project, command);
    let all = "";
    const read = (data: Buffer) => {
      all += data;
      const [address] = /http:\/\/[\w.]+:\d+/.exec(all) ?? [];
      if (address) resolve(address);
    };
    child.stdout!.on("data", read);
    child.stderr!.on("data", read);
    child.on("close", (code) => reject(new Error(`${command} ended with ${code}:\n${all}`)));
  });
}

const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".png": "image/png" };

/** A plain server of files: those of the project's folders, in that order. */
export function files(project: string, ...roots: string[]): Promise<string> {
  const server = createServer((request, response) => {
    const path = new URL(request.url!, "http://host").pathname.replace(/\/$/, "/index.html");
    const file = roots.map((root) => join(project, root, path)).find((each) => existsSync(each));
    if (!file) return void response.writeHead(404).end();
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    sendFile({ method: request.method!, path, headers: request.headers }, response, readFileSync(file), {
      "content-type": type,
      "access-control-allow-origin": "*", // as a CDN
    });
  });
  closing.add(() => server.close());
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)),
  );
}

/** A project of the repository's, installed in a folder of its own for its tests and then removed; `prepare` adds what they need. */
export function inProject(source: string, tests: (project: () => string) => void, prepare: (project: string) => void = () => {}): void {
  describe(source, () => {
    let project = "";
    beforeAll(async () => {
      project = join(folder, source);
      cpSync(pathOf(source), project, { recursive: true });
      prepare(project);
      await run(project, `npm install --no-audit --no-fund --prefer-offline ${tarball}`);
    });
    afterAll(() => rmSync(project, { recursive: true, force: true }));
    tests(() => project);
  });
}

/** A page that waits: a busy machine compiles and computes slowly. */
export async function newPage(): Promise<Page> {
  const page = await browser.newPage();
  page.setDefaultTimeout(300_000);
  return page;
}

/** What a page finds, and what its console complains of. */
export async function look(address: string): Promise<{ found: unknown; problems: string[] }> {
  const page = await newPage();
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    const missing = /status of 404/.test(message.text()); // the loader asks for files that a checkpoint may have
    if (["error", "warning"].includes(message.type()) && !missing) problems.push(message.text());
  });
  try {
    await page.goto(address);
    await page
      .waitForFunction(() => document.title.startsWith("{"))
      .catch((cause) => {
        throw new Error(`no answer: ${problems.join("\n")}`, { cause });
      });
    return { found: JSON.parse(await page.title()), problems };
  } finally {
    await page.close();
  }
}
