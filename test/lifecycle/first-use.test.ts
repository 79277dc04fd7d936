import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { once } from "../../src/platform/once.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

// What a process does first may be done twice at once. Every script has a process of its own, with the library as `npm ci` builds it.

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "internvl-first-use-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const START = `
import { InternVL } from ${JSON.stringify(pathOf("dist/src/index.js"))};
import { platform } from ${JSON.stringify(pathOf("dist/src/platform/node.js"))};
const nano = ${JSON.stringify(pathOf("weights/nano"))};
const ask = async (vlm) => (await vlm.chat("What shape is it?", { images: [nano + "/images/card-1.png"] })).text;
const load = () => InternVL.load(nano, { maxContext: 512 });
`;

async function node(script: string, env: NodeJS.ProcessEnv = {}, start = START) {
  const file = join(folder, `${Math.random().toString(36).slice(2)}.mjs`);
  writeFileSync(file, start + script);
  const child = spawn(process.execPath, ["--expose-gc", file], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  const end = new Promise<number | NodeJS.Signals | null>((resolve, reject) =>
    child.once("error", reject).once("close", (code, signal) => resolve(signal ?? code)),
  );
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { end: await end, stdout: stdout.trim(), stderr };
}

describe("first uses of a process at once", () => {
  it.for([2, 4])("%i loads", async (count, context) => {
    context.skip(isQuick && count > 2, `more of the same: ${ELSEWHERE}`);
    const script = `
const models = await Promise.all(Array.from({ length: ${count} }, load));
gc();
console.log((await Promise.all(models.map(ask))).join());
gc();
await Promise.all(models.map((vlm) => vlm.dispose()));
gc();`;
    for (let run = 0; run < (isQuick ? 1 : 3); run++) {
      const { end, stdout, stderr } = await node(script);
      expect([end, stdout], stderr).toEqual([0, Array(count).fill("A triangle.").join()]);
    }
  });

  it("a load, lists of adapters and a request for one", async () => {
    const script = `
const [vlm, first, second] = await Promise.all([load(), platform.listAdapters(), platform.listAdapters(), platform.requestAdapter({})]);
gc();
console.log(await ask(vlm), first.length > 0 && first.join() === second.join(), first.some((name) => name === vlm.adapter));
await vlm.dispose();`;
    for (let run = 0; run < (isQuick ? 1 : 2); run++) {
      const { end, stdout, stderr } = await node(script);
      expect([end, stdout], stderr).toEqual([0, "A triangle. true true"]);
    }
  });

  it("a load beside one that is disposed and collected, and one that fails", async (context) => {
    context.skip(isQuick, `four loads more: ${ELSEWHERE}`);
    const script = `
const slow = (async () => ask(await load()))();
const gone = (async () => { await (await load()).dispose(); for (let i = 0; i < 20; i++) { gc(); await new Promise((done) => setTimeout(done, 5)); } })();
const fails = InternVL.load(nano, { device: { adapter: "voodoo" } }).catch((error) => error.code);
console.log(await slow, await gone, await fails, await ask(await load()));
process.exit(0); // with models that nobody disposed`;
    const { end, stdout, stderr } = await node(script);
    expect([end, stdout], stderr).toEqual([0, "A triangle. undefined no-adapter A triangle."]);
  });

  it("a process that ends with a model at work, which nobody disposed", async () => {
    const script = `
const vlm = await load();
console.log(await ask(vlm));
vlm.chat("Can you tell me a story?");
setTimeout(() => process.exit(3), 20);`;
    for (let run = 0; run < (isQuick ? 1 : 2); run++) expect(await node(script)).toMatchObject({ end: 3, stdout: "A triangle." }); // SwiftShader crashed
  });

  it("a load after a failed one", async () => {
    const script = `
const code = (work) => work.then(() => "none", (error) => error.code);
console.log(await Promise.all([code(InternVL.load(nano, { device: { adapter: "voodoo" } })), code(InternVL.load(nano, { device: "x" }))]), await ask(await load()));`;
    const { end, stdout, stderr } = await node(script);
    expect([end, stdout], stderr).toEqual([0, "[ 'no-adapter', 'bad-input' ] A triangle."]);
  });
});

// The package that SwiftShader comes in is there for Linux on x64.
describe.runIf(process.platform === "linux" && process.arch === "x64")("SwiftShader is unpacked", () => {
  /** A copy of the library whose node_modules are links, so that the cache beside them is its own. */
  function copyOfLibrary(name: string): { start: string; cache: string } {
    const root = join(folder, name);
    mkdirSync(join(root, "node_modules/@sparticuz"), { recursive: true });
    cpSync(pathOf("dist"), join(root, "dist"), { recursive: true });
    cpSync(pathOf("package.json"), join(root, "package.json"));
    cpSync(realpathSync(pathOf("node_modules/@sparticuz/chromium")), join(root, "node_modules/@sparticuz/chromium"), {
      recursive: true,
      filter: (path) => !path.endsWith("chromium.br"), // the browser itself, 60 MB
    });
    for (const each of readdirSync(pathOf("node_modules")))
      if (!existsSync(join(root, "node_modules", each)) && !each.startsWith("."))
        symlinkSync(pathOf(`node_modules/${each}`), join(root, "node_modules", each));
    const start = START.replaceAll(pathOf("dist"), join(root, "dist"));
    return { start, cache: join(root, "node_modules/.cache/internvl-webgpu") };
  }

  const SWIFTSHADER = { INTERNVL_ADAPTER: "swiftshader" };

  it("once, by two processes with two calls each at once", async () => {
    const { start, cache } = copyOfLibrary("together");
    const script = `
const found = await Promise.all([platform.requestAdapter({}), platform.listAdapters(), platform.requestAdapter({ adapter: "SwiftShader" })]);
const device = await found[0].adapter.requestDevice();
console.log(/swiftshader/i.test(found[0].name), found[1].includes(found[2].name));
device.destroy();`;
    const runs = await Promise.all([node(script, SWIFTSHADER, start), node(script, SWIFTSHADER, start)]);
    for (const { end, stdout, stderr } of runs) expect([end, stdout], stderr).toEqual([0, "true true"]);
    expect(readdirSync(cache)).toEqual([expect.stringMatching(/^swiftshader-\d+\.\d+\.\d+$/)]);
  });

  it("or tells why not, leaves nothing half done, and is tried again", async () => {
    const { start, cache } = copyOfLibrary("broken");
    const archive = join(cache, "../../@sparticuz/chromium/bin/swiftshader.tar.br");
    const script = `
import { renameSync, writeFileSync } from "node:fs";
const archive = ${JSON.stringify(archive)};
renameSync(archive, archive + ".kept");
writeFileSync(archive, "no archive");
const [error] = await Promise.all([platform.requestAdapter({}).catch((error) => error), platform.requestAdapter({}).catch(() => {})]);
console.log(error.code, error.name, error.message.startsWith("SwiftShader cannot be unpacked"), error.hint.length > 0);
renameSync(archive + ".kept", archive);
console.log(/swiftshader/i.test((await platform.requestAdapter({})).name));`;
    const { end, stdout, stderr } = await node(script, SWIFTSHADER, start);
    expect([end, stdout], stderr).toEqual([0, "no-adapter EngineError true true\ntrue"]);
    expect(readdirSync(cache)).toEqual([expect.stringMatching(/^swiftshader-\d+\.\d+\.\d+$/)]);
  });
});

describe("once", () => {
  it("shares an attempt, keeps what it gave, and forgets a failed one", async () => {
    let calls = 0;
    const get = once(async () => {
      calls++;
      if (calls === 1) throw new Error("first");
      return calls;
    });
    const both = await Promise.allSettled([get(), get()]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(calls).toBe(1);
    expect(await Promise.all([get(), get()])).toEqual([2, 2]);
    expect(await get()).toBe(2);
  });
});
