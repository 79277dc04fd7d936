import { gzipSync } from "node:zlib";
import { build, type InlineConfig, type Rollup } from "vite";
import { beforeAll, describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";

/** The library as a page's bundler takes it: minified, `#platform` resolved as browsers do. */
async function bundle(entry: string, external: string[]): Promise<Rollup.RollupOutput["output"]> {
  const config: InlineConfig = {
    configFile: false,
    root: pathOf(""),
    logLevel: "error",
    resolve: { alias: { "#platform": pathOf("src/platform/web.ts") } },
    build: {
      write: false,
      minify: true,
      target: "es2023",
      // Not Vite's library mode, which keeps white space in ES modules.
      rollupOptions: { input: pathOf(entry), external, preserveEntrySignatures: "strict" },
    },
  };
  return ((await build(config)) as Rollup.RollupOutput).output;
}

const LIMIT = 120 * 1024; // bytes, gzip: library and shaders without the tokenizer

describe("the library in a bundle", () => {
  let chunks: Rollup.OutputChunk[];
  beforeAll(async () => {
    const output = await bundle("src/index.ts", ["@huggingface/tokenizers"]);
    chunks = output.filter((file) => file.type === "chunk");
  });

  it("imports nothing but the tokenizer: no Node built-in is reachable from a page", () => {
    expect(chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports])).toEqual(["@huggingface/tokenizers"]);
    const modules = chunks.flatMap(({ moduleIds }) => moduleIds);
    expect(modules.length).toBeGreaterThan(40);
    // What Vite puts in place of a built-in that a page does not have.
    expect(modules.filter((id) => /__vite-browser-external|^node:|platform\/node/.test(id))).toEqual([]);
  });

  it(`is at most ${LIMIT / 1024} KiB gzip with its shaders, without the tokenizer`, () => {
    const bytes = gzipSync(chunks.map(({ code }) => code).join("\n")).length;
    console.log(`library + shaders without the tokenizer: ${(bytes / 1024).toFixed(1)} KiB gzip`);
    expect(bytes).toBeLessThanOrEqual(LIMIT);
  });

  it("the worker brings its own script along", async () => {
    const output = await bundle("src/api/worker.ts", []);
    const code = output.map((file) => (file.type === "chunk" ? file.code : String(file.source))).join("\n");
    expect(code).toContain("new Worker(");
    expect(code).toContain("@compute"); // the shaders are in the script
    expect(code).not.toMatch(/["']node:|__vite-browser-external/);
  });
});
