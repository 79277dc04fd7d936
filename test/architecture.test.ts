import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { pathOf } from "./support.ts";

/** DESIGN §2, lowest first. A file imports its own layer and lower ones. */
const LAYERS = [
  "errors.ts",
  "gpu/adapter-kind.ts", // asks nobody anything: the platform, too, says by it what an adapter is
  "options.ts",
  "json.ts",
  "gguf.ts",
  "safetensors",
  "platform",
  "hub", // where bytes come from: knows no tensor and no GPU
  "tensor",
  "reference",
  "gpu",
  "ops",
  "harness",
  "media",
  "text",
  "weights",
  "model",
  "generate",
  "api",
  "server",
  "ai-sdk",
  "index.ts ai-sdk.ts convert.ts server.ts testing.ts worker-thread.ts",
];
const layerOf = (file: string): number => {
  const inside = file.slice("src/".length);
  const layer = LAYERS.findIndex((names) => names.split(" ").some((name) => name === inside || name === inside.split("/")[0]));
  if (layer < 0) throw new Error(`${file} belongs to no layer`);
  return layer;
};

const root = pathOf("");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "src"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => file.endsWith(".ts") && !file.includes("/test/") && !file.endsWith(".d.ts"));

/** The files that a file imports, from the repository's root. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].flatMap(([, specifier]) => {
    if (specifier === "#platform") return ["src/platform/node.ts"];
    return specifier!.startsWith(".") ? [normalize(join(dirname(file), specifier!))] : [];
  });
}

describe("the house", () => {
  it("imports point to the own layer or a lower one", () => {
    const upward = files.flatMap((file) =>
      importsOf(file)
        .filter((target) => layerOf(target) > layerOf(file))
        .map((target) => `${file} → ${target}`),
    );
    expect(upward).toEqual([]);
  });

  it("has no import cycles", () => {
    const state = new Map<string, "open" | "done">();
    const cycles: string[] = [];
    const visit = (file: string, path: string[]): void => {
      if (state.get(file) === "open") cycles.push([...path, file].join(" → "));
      if (state.has(file)) return;
      state.set(file, "open");
      for (const target of importsOf(file)) visit(target, [...path, file]);
      state.set(file, "done");
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it("holds what the package's entries reach: what only its tools use lies with them", () => {
    const entries = Object.values(
      JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports as Record<string, { types?: string }>,
    );
    const scripts = ["media/decode-thread", "text/grammar/thread", "platform/node-thread", "platform/node-heif", "platform/web"];
    const reached = new Set<string>();
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      importsOf(file).forEach(visit);
    };
    for (const { types } of entries) if (types) visit(types.replace("./dist/", "").replace(/\.d\.ts$/, ".ts"));
    for (const script of scripts) visit(`src/${script}.ts`);
    expect(files.filter((file) => !reached.has(file))).toEqual([]);
  });

  it("touches Node's built-ins in platform/ only", () => {
    const offenders = files.filter(
      (file) => layerOf(file) !== layerOf("src/platform/node.ts") && /["']node:/.test(readFileSync(join(root, file), "utf8")),
    );
    expect(offenders).toEqual([]);
  });

  it("reaches what only CPU adapters, and only matrix units, need through ops/choose.ts alone", () => {
    const text = readFileSync(join(root, "src/ops/choose.ts"), "utf8");
    for (const folder of ["cpu", "matrix"]) {
      const within = (file: string) => file.startsWith(`src/ops/${folder}/`);
      const others = files.filter((file) => !within(file) && importsOf(file).some(within));
      expect(others).toEqual(["src/ops/choose.ts"]);
      // And there when such an adapter is opened, not before.
      expect(text.match(new RegExp(`^.*\\./${folder}/.*$`, "gm"))).toEqual([expect.stringContaining(`import("./${folder}/index.ts")`)]);
    }
  });

  it("asks in one place what an adapter is, and chooses kernels by it in one", () => {
    const text = (file: string) => readFileSync(join(root, file), "utf8");
    const code = files.filter((file) => !file.endsWith(".gen.ts"));
    expect(code.filter((file) => /\bkind [=!]== "[cg]pu"|\[gpu\.kind\]/.test(text(file)) && /^src\/(ops|model)\//.test(file))).toEqual([
      "src/ops/choose.ts",
    ]);
    const names = /\/[^/\n]*(llvmpipe|lavapipe|basic render|isFallback)[^/\n]*\/i?\b|isFallbackAdapter (=|\?|&|\|)/i;
    // The other one advises by the name that somebody asked for, where there is no such adapter.
    expect(code.filter((file) => names.test(text(file)))).toEqual(["src/gpu/adapter-kind.ts", "src/platform/no-adapter.ts"]);
  });

  it("says what could not be loaded where a part comes later", () => {
    const loads = files
      .filter((file) => !file.startsWith("src/platform/node"))
      .flatMap((file) => readFileSync(join(root, file), "utf8").match(/^.*(?<!typeof )\bimport\("\..*$/gm) ?? []);
    expect(loads.length).toBeGreaterThan(20);
    expect(loads.filter((line) => !/\blate\(/.test(line))).toEqual([]);
  });

  it("keeps files within their sizes", () => {
    const lines = (file: string) => readFileSync(join(root, file), "utf8").split("\n").length;
    const shaders = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "shaders"], {
      cwd: root,
      encoding: "utf8",
    })
      .split("\n")
      .filter(Boolean);
    expect(files.filter((file) => !file.endsWith(".gen.ts") && lines(file) > 450)).toEqual([]);
    expect(shaders.filter((file) => lines(file) > 220)).toEqual([]);
  });

  it("has the shaders embedded as they are", () => {
    execFileSync(process.execPath, [join(root, "tools/embed-shaders/main.mjs"), "--check"]);
  });
});
