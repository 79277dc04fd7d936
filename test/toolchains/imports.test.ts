import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";
import { type Consumer, packedConsumer } from "./packed.ts";

// Node without the package "webgpu", which is an optional peer: everything can be imported, and what needs no GPU works.

let consumer: Consumer;
beforeAll(() => {
  consumer = packedConsumer();
});
afterAll(() => consumer.remove());

function node(script: string): { status: number | null; stdout: string; stderr: string } {
  writeFileSync(join(consumer.project, "script.mjs"), script);
  const { status, stdout, stderr } = spawnSync(process.execPath, ["script.mjs"], { cwd: consumer.project, encoding: "utf8" });
  return { status, stdout: stdout.trim(), stderr };
}

const { exports } = JSON.parse(readFileSync(pathOf("package.json"), "utf8")) as { exports: Record<string, unknown> };

describe("plain Node without WebGPU", () => {
  it.each(Object.keys(exports))("imports %s and ends", (name) => {
    const options = name.endsWith(".json") ? ', { with: { type: "json" } }' : "";
    const specifier = JSON.stringify(name.replace(/^\./, "internvl-webgpu"));
    const { status, stdout, stderr } = node(`
const before = new Set(Object.getOwnPropertyNames(globalThis));
const found = await import(${specifier}${options});
console.log(typeof found, Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name)).join());`);
    expect([status, stdout], stderr).toEqual([0, "object"]);
  });

  it("load, openGpu and the command line tell what to install", () => {
    const { status, stdout, stderr } = node(`
import { InternVL, EngineError } from "internvl-webgpu";
import { openGpu } from "internvl-webgpu/testing";
for (const start of [() => InternVL.load("node_modules/internvl-webgpu/weights/nano"), () => openGpu()]) {
  const error = await start().catch((error) => error);
  console.log(error instanceof EngineError, error.code, error.hint);
}`);
    const line = "true no-webgpu install it beside internvl-webgpu: npm install webgpu@0.6.2";
    expect([status, stdout], stderr).toEqual([0, `${line}\n${line}`]);
    const main = "node_modules/internvl-webgpu/dist/tools/cli/main.js";
    const doctor = spawnSync(process.execPath, [main, "doctor"], { cwd: consumer.project, encoding: "utf8" });
    expect(doctor.status).toBe(1);
    expect(doctor.stderr).toMatch(/^internvl: no-webgpu: .*npm install webgpu/);
    const inspect = spawnSync(process.execPath, [main, "inspect", "node_modules/internvl-webgpu/weights/nano"], {
      cwd: consumer.project,
      encoding: "utf8",
    });
    expect(inspect.status, inspect.stderr).toBe(0);
  });

  it("pictures and texts need no GPU", () => {
    const { status, stdout, stderr } = node(`
import { readFileSync } from "node:fs";
import { tiles, tokenizer } from "internvl-webgpu/testing";
const nano = "node_modules/internvl-webgpu/weights/nano";
console.log((await tiles(readFileSync(nano + "/images/card-1.png"), { maxTiles: 1 })).grid.join(), (await tokenizer(nano)).encode("What").length > 0);`);
    expect([status, stdout], stderr).toEqual([0, "1,1 true"]);
  });

  it("a worker for a page says so", () => {
    const { status, stdout, stderr } = node(`
import { InternVLWorker } from "internvl-webgpu/worker";
const error = await InternVLWorker.load("https://host/model").catch((error) => error);
console.log(error.name, error.code, error.message);`);
    expect([status, stdout], stderr).toEqual([0, expect.stringMatching(/^EngineError bad-input .*Worker/)]);
  });
});
