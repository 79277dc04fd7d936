import { gzipSync } from "node:zlib";
import { build, type InlineConfig, type Rollup } from "vite";
import { beforeAll, describe, expect, it } from "vitest";
import { shaders } from "../../src/ops/cpu/shaders.gen.ts";
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
  /** What a page downloads before it has asked for anything: the entry, and what it imports. */
  let first: Rollup.OutputChunk[];
  const codeOf = (of: readonly Rollup.OutputChunk[]) => of.map(({ code }) => code).join("\n");

  beforeAll(async () => {
    const output = await bundle("src/index.ts", ["@huggingface/tokenizers"]);
    chunks = output.filter((file) => file.type === "chunk");
    const reached = new Set(chunks.filter(({ isEntry }) => isEntry));
    for (const { imports } of reached) for (const chunk of chunks) if (imports.includes(chunk.fileName)) reached.add(chunk);
    first = [...reached];
  });

  it("imports nothing but the tokenizer: no Node built-in is reachable from a page", () => {
    const own = chunks.map(({ fileName }) => fileName);
    const outside = chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports]).filter((name) => !own.includes(name));
    expect([...new Set(outside)]).toEqual(["@huggingface/tokenizers"]);
    const modules = chunks.flatMap(({ moduleIds }) => moduleIds);
    expect(modules.length).toBeGreaterThan(40);
    // What Vite puts in place of a built-in that a page does not have.
    expect(modules.filter((id) => /__vite-browser-external|^node:|platform\/node/.test(id))).toEqual([]);
  });

  it(`is at most ${LIMIT / 1024} KiB gzip with its shaders, without the tokenizer`, () => {
    const size = (of: readonly Rollup.OutputChunk[]) => gzipSync(codeOf(of)).length;
    const kib = (bytes: number) => `${(bytes / 1024).toFixed(1)} KiB`;
    console.log(
      `library + shaders without the tokenizer: ${kib(size(first))} gzip, and ${kib(size(chunks) - size(first))} on CPU adapters`,
    );
    expect(size(first)).toBeLessThanOrEqual(LIMIT);
  });

  it("holds no kernel that only CPU adapters run: those come when such an adapter is opened", () => {
    expect(first.flatMap(({ moduleIds }) => moduleIds).filter((id) => /ops\/cpu\/|gpu\/unzeroed/.test(id))).toEqual([]);
    // Not by another way either: what a shader says in its first line stands in one file only.
    const firstLines = Object.values(shaders).map((text) => text.split("\n")[0]!.replaceAll("`", "\\`"));
    expect(firstLines.length).toBeGreaterThan(25);
    const [all, own] = [codeOf(chunks), codeOf(first)];
    expect(firstLines.filter((line) => own.includes(line))).toEqual([]);
    expect(firstLines.filter((line) => !all.includes(line))).toEqual([]);
  });

  it("the worker brings its own script along", async () => {
    const output = await bundle("src/api/worker.ts", []);
    const code = output.map((file) => (file.type === "chunk" ? file.code : String(file.source))).join("\n");
    expect(code).toContain("new Worker(");
    expect(code).toContain("@compute"); // the shaders are in the script
    expect(code).not.toMatch(/["']node:|__vite-browser-external/);
  });
});
