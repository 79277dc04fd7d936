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
      modulePreload: false, // a helper of Vite's, not ours
      target: "es2023",
      // Not Vite's library mode, which keeps white space in ES modules.
      rollupOptions: { input: pathOf(entry), external, preserveEntrySignatures: "strict" },
    },
  };
  return ((await build(config)) as Rollup.RollupOutput).output;
}

/**
 * Bytes, gzip: what a page downloads to load a bf16 or q4 checkpoint from files that a user picked and to answer about a JPEG, all in: the
 * first bundle, and that with the decoders.
 */
const LIMITS = [90_000, 100_000];
/** What comes when it is needed: docs/browser.md has the sizes. */
const LATER = {
  "pictures by address": "src/api/address.ts",
  PNG: "src/media/png.ts",
  "arithmetic-coded JPEGs": "src/media/transcode.ts",
  "large pictures": "src/media/decode-client.ts",
  "pictures that a page shows": "src/platform/web-texture.ts",
  "pictures that the browser decodes": "src/platform/web-decode.ts",
  BMP: "src/media/bmp.ts",
  GIF: "src/media/gif.ts",
  AVIF: "src/media/avif.ts",
  videos: "src/api/clip.ts",
  "videos by mediabunny": "src/platform/web-video.ts",
  "checkpoints by name": "src/hub/source-named.ts",
  "checkpoints on a server": "src/hub/source-remote.ts",
  "files that are something else": "src/hub/foreign-errors.ts",
  "browsers without an adapter": "src/platform/web-no-adapter.ts",
  "stretched rope": "src/model/rope.ts",
  "tiles of another size": "src/model/positions.ts",
  "tensors that do not fit": "src/model/check-tensors.ts",
  "weights in another format": "src/weights/quantize.ts",
  "layers over devices": "src/model/split-layers.ts",
  "the cache's list": "src/hub/cached.ts",
  "the site's storage": "src/platform/web-store.ts",
  "AWQ, LoRA": "src/model/resolve.ts",
  "LoRA's configuration": "src/model/lora-config.ts",
  "kernels of other formats, samplings, models and devices": "src/gpu/shaders-late.gen.ts",
  "transformers' layout": "src/model/huggingface.ts",
  "tokenizer.model": "src/text/sentence-piece-json.ts",
  "long texts": "src/text/bound.ts",
  "vocab.json": "src/text/slow-files.ts",
  batch: "src/api/batch.ts",
  complete: "src/api/openai.ts",
  "CPU adapters": "src/ops/cpu/index.ts",
  "matrix units": "src/ops/matrix/index.ts",
};

describe("the library in a bundle", () => {
  let chunks: Rollup.OutputChunk[];
  /** A chunk and all that it imports at once. */
  const withImports = (name: string): string[] => [
    name,
    ...(chunks.find(({ fileName }) => fileName === name)?.imports ?? []).flatMap(withImports),
  ];
  const chunkOf = (module: string) => chunks.find(({ moduleIds }) => moduleIds.some((id) => id.endsWith(module)))!.fileName;
  /** What a question without a picture needs: the entry, and what comes with `load` and `chat`. */
  const firstOnes = () =>
    [chunks.find(({ isEntry }) => isEntry)!.fileName, chunkOf("src/api/load.ts"), chunkOf("src/api/answer.ts")].flatMap(withImports);
  const gzipOf = (names: Iterable<string>): number => {
    const wanted = new Set(names);
    const ours = chunks.filter(({ moduleIds }) => !moduleIds.some((id) => id.includes("vite/preload-helper"))); // a page has it once, whatever it imports
    return gzipSync(ours.flatMap(({ fileName, code }) => (wanted.has(fileName) ? [code] : [])).join("\n")).length;
  };
  beforeAll(async () => {
    const output = await bundle("src/index.ts", []);
    chunks = output.filter((file) => file.type === "chunk");
  });

  it("holds no Node built-in that is reachable from a page", () => {
    expect(
      chunks.flatMap(({ imports, dynamicImports }) => [...imports, ...dynamicImports]).filter((id) => !id.startsWith("assets/")),
    ).toEqual([]);
    // mediabunny, which comes with the first video, says itself what of it is not for pages.
    const own = chunks.filter(({ moduleIds }) => !moduleIds.some((id) => id.includes("/mediabunny/")));
    const modules = own.flatMap(({ moduleIds }) => moduleIds);
    expect(modules.length).toBeGreaterThan(40);
    // What Vite puts in place of a built-in that a page does not have.
    expect(modules.filter((id) => /__vite-browser-external|^node:|platform\/node/.test(id))).toEqual([]);
  });

  it(`is at most ${LIMITS[0]} bytes of gzip, ${LIMITS[1]} with the decoders; what only some pages need comes when it is needed`, () => {
    const first = firstOnes();
    const picture = withImports(chunkOf("src/api/decode-file.ts"));
    const all = [...first, ...picture];
    const sizes = [first, all].map(gzipOf);
    const apart = [...new Set(all)].reduce((sum, name) => sum + gzipOf([name]), 0);
    console.log(`gzip: the first bundle ${sizes[0]} bytes, with the decoders ${sizes[1]}; each chunk alone ${apart}`);
    for (const [i, limit] of LIMITS.entries()) expect(sizes[i]).toBeLessThanOrEqual(limit);
    expect(first).not.toContain(chunkOf("jpeg-js/lib/decoder.js"));
    for (const [what, module] of Object.entries(LATER)) {
      const more = withImports(chunkOf(module)).filter((name) => !all.includes(name));
      expect(more, what).toContain(chunkOf(module));
      console.log(`  later, ${what}: ${gzipOf(more)}`);
    }
    const modules = chunks.flatMap(({ moduleIds }) => moduleIds);
    expect(modules.filter((id) => /jpeg-js\/lib\/encoder|src\/harness\//.test(id))).toEqual([]);
  });

  it("holds no kernel that only CPU adapters run: those come when such an adapter is opened", () => {
    const first = new Set(firstOnes());
    const inFirst = chunks.filter(({ fileName }) => first.has(fileName));
    expect(inFirst.flatMap(({ moduleIds }) => moduleIds).filter((id) => /ops\/cpu\/|gpu\/unzeroed/.test(id))).toEqual([]);
    // Not by another way either: their text stands in no other chunk.
    const texts = Object.values(shaders);
    expect(texts.length).toBeGreaterThan(25);
    const codeOf = (of: readonly Rollup.OutputChunk[]) => of.map(({ code }) => code.replaceAll("\\n", "\n")).join("\n");
    const [inFirstOnes, inAny] = [codeOf(inFirst), codeOf(chunks)];
    expect(texts.filter((text) => inFirstOnes.includes(text))).toEqual([]);
    expect(texts.filter((text) => !inAny.includes(text))).toEqual([]);
  });

  it("the worker brings its own script along", async () => {
    const output = await bundle("src/api/worker.ts", []);
    const code = output.map((file) => (file.type === "chunk" ? file.code : String(file.source))).join("\n");
    expect(code).toContain("new Worker(");
    expect(code).toContain("@compute"); // the shaders are in the script
    expect(code).not.toMatch(/["']node:|__vite-browser-external/);
  });
});
