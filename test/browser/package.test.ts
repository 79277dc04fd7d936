import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { chromium } from "playwright";
import { build, preview } from "vite";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { pathOf } from "../support.ts";
import { chromiumLaunch } from "./chromium.ts";

const bin = (name: string) => pathOf(`node_modules/.bin/${name}`);
const { dependencies, peerDependencies, peerDependenciesMeta, exports } = JSON.parse(readFileSync(pathOf("package.json"), "utf8"));

it.runIf(inject("full"))("the API reference is made without a warning (npm run test:full)", () => {
  const made = spawnSync(bin("typedoc"), ["--emit", "none"], { cwd: pathOf(""), encoding: "utf8" });
  expect(made.status, made.stdout + made.stderr).toBe(0);
});

it("package.json: at most six run-time dependencies, two of them the server's, optional peers, types first", () => {
  expect(Object.keys(dependencies).length).toBeLessThanOrEqual(6);
  expect(Object.keys(peerDependencies)).toEqual(["@ai-sdk/provider", "webgpu"]);
  for (const name of Object.keys(peerDependencies)) expect(peerDependenciesMeta[name as "webgpu"].optional, name).toBe(true);
  for (const [name, conditions] of Object.entries<Record<string, string> | string>(exports))
    if (name !== "./package.json") expect(Object.keys(conditions)[0]).toBe("types");
});

// It builds, packs and installs: a minute on a slow machine.
describe.runIf(inject("full"))("the packed package (npm run test:full)", () => {
  let folder: string;
  let tarball: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "internvl-package-"));
    // A build of its own: other tests may be using dist/.
    const copy = join(folder, "repository");
    cpSync(pathOf(""), copy, { recursive: true, filter: (path) => !/node_modules|\.git$|\/dist$|\/test$|\/shared$/.test(path) });
    symlinkSync(pathOf("node_modules"), join(copy, "node_modules"));
    execFileSync(process.execPath, ["tools/build.mjs"], { cwd: copy });
    execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: copy, stdio: "pipe" });
    tarball = join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz"))!);
    const project = join(folder, "project");
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
    execFileSync("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", tarball, "webgpu@0.6.2"], {
      cwd: project,
      stdio: "pipe",
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("a Node script loads nano and answers", async () => {
    const project = join(folder, "project");
    writeFileSync(
      join(project, "ask.mjs"),
      `import { InternVL } from "internvl-webgpu";
const folder = "node_modules/internvl-webgpu/weights/nano";
const vlm = await InternVL.load(folder);
const { text } = await vlm.chat("What shape is it?", { images: [folder + "/images/card-1.png"] });
console.log(text);
await vlm.dispose();
`,
    );
    const { stdout, stderr } = spawnSync(process.execPath, ["ask.mjs"], { cwd: project, encoding: "utf8", env: await withSwiftShader() });
    expect(stdout.trim(), stderr).toBe("A triangle.");
  });

  it("a Vite page loads nano in a worker and answers", async () => {
    const project = join(folder, "project");
    writeFileSync(join(project, "index.html"), '<!doctype html><title>page</title><script type="module" src="/page.js"></script>');
    writeFileSync(
      join(project, "page.js"),
      `import { InternVLWorker } from "internvl-webgpu/worker";
const nano = { async open(name) {
  const response = await fetch("/nano/" + name);
  if (!response.ok || response.headers.get("content-type")?.startsWith("text/html")) return undefined;
  const bytes = new Uint8Array(await response.arrayBuffer());
  return { name, size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) };
} };
const vlm = await InternVLWorker.load(nano);
const image = await (await fetch("/nano/images/card-1.png")).blob();
document.title = (await vlm.chat("What shape is it?", { images: [image] })).text;
`,
    );
    const publicDir = join(project, "node_modules/internvl-webgpu/weights");
    const config = { configFile: false as const, root: project, publicDir, logLevel: "error" as const };
    await build({ ...config, build: { target: "es2023" }, worker: { format: "es" } });
    const server = await preview({ ...config, preview: { port: 0, host: "127.0.0.1" } });
    const browser = await chromium.launch(await chromiumLaunch());
    try {
      const page = await browser.newPage();
      await page.goto(server.resolvedUrls!.local[0]!);
      await page.waitForFunction(() => document.title === "A triangle.", undefined, { timeout: 120_000 });
    } finally {
      await browser.close();
      await server.close();
    }
  });
});

/** An adapter for a process outside the repository, also on a machine without Vulkan: the SwiftShader beside the unpacked browser. */
async function withSwiftShader(): Promise<NodeJS.ProcessEnv> {
  const { executablePath } = await chromiumLaunch();
  if (!executablePath || process.env.CHROME) return process.env;
  const folder = dirname(executablePath);
  return {
    ...process.env,
    LD_LIBRARY_PATH: [process.env.LD_LIBRARY_PATH, folder].filter(Boolean).join(delimiter),
    VK_ADD_DRIVER_FILES: join(folder, "vk_swiftshader_icd.json"),
  };
}
