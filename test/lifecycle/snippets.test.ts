import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";
import { filesBelow, hubServer } from "../hub-server.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { promised, runScript, type Snippet, snippetFolder, snippetsOf } from "../shared/snippets.ts";
import { pathOf } from "../support.ts";

// The examples of README, docs/ and the code's comments, run as they stand with the small model, each a module of its own. Those of docs/serving.md are
// run beside a server (test/serve/cli.test.ts), those of pages in Chromium (test/toolchains/matrix.test.ts).

const pages = readdirSync(pathOf("docs")).filter((name) => name.endsWith(".md") && name !== "serving.md");
const sources = (readdirSync(pathOf("src"), { recursive: true }) as string[]).filter(
  (name) => name.endsWith(".ts") && !/\.gen\.|safetensors/.test(name),
);
const files = ["README.md", ...pages.map((name) => `docs/${name}`), ...sources.map((name) => `src/${name}`)];
const snippets = files.flatMap((file) => snippetsOf(file, "ts|js"));
const inNode = snippets.filter(({ where }) => where !== "page");
const ffmpeg = spawnSync("ffmpeg", ["-version"]).status === 0;
const runnable = inNode.filter(({ code }) => ffmpeg || !code.includes(".mp4"));
for (const { at } of inNode.filter((each) => !runnable.includes(each)))
  console.warn(`SKIPPED: the example at ${at} reads a video file, and needs ffmpeg on the path (apt install ffmpeg); it was not run`);

const WGSL = `
struct Step { units: u32 }
@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> params: vec4u;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { if (id.x < params.x) { y[id.x] = 2 * x[id.x]; } }`;

/** What examples may speak of without having made or imported it. */
const IMPORTED = {
  "internvl-webgpu": ["InternVL", "cachedModels", "parseBoxes"],
  "internvl-webgpu/ai-sdk": ["internvl"],
  "internvl-webgpu/convert": ["convertWeights", "inspect", "verify"],
  "internvl-webgpu/server": ["createHandler"],
  "internvl-webgpu/testing": [
    ...["defineKernelCase", "kernelCases", "openGpu", "runKernelCase", "runKernelCases"],
    ...["generateBatch", "generateTrace", "tiles", "tokenizer", "traceForward"],
  ],
  "internvl-webgpu/worker": ["InternVLWorker"],
  ai: ["streamText"],
  "node:fs/promises": ["readFile"],
};
const MADE: Record<string, [value: string, type: string]> = {
  vlm: ['await InternVL.load("weights/nano")', 'import("internvl-webgpu").InternVL'],
  gpu: ["await openGpu()", "Awaited<ReturnType<typeof openGpu>>"],
  file: ['new File([], "photo.png")', "File"], // and the next: for pages
  output: ["{ append() {} }", "{ append(text: string): void }"],
  WGSL: [JSON.stringify(WGSL), "string"],
  ...Object.fromEntries(["photo", "a", "b"].map((name) => [name, ['"photo.png"', "string"]])),
  ...Object.fromEntries([1, 2, 3, 4].map((i) => [`frame${i}`, [`"frame${2 - (i % 2)}.png"`, "string"]])),
  ...Object.fromEntries(["width", "height"].map((name) => [name, ["100", "number"]])),
  ...Object.fromEntries(["show", "draw"].map((name) => [name, ["() => {}", "(...values: unknown[]) => void"]])),
};

const declared = (): string => {
  const imported = Object.entries(IMPORTED).flatMap(([entry, names]) =>
    names.map((name) => `var ${name}: typeof import("${entry}").${name};`),
  );
  return [...imported, ...Object.entries(MADE).map(([name, [, type]]) => `var ${name}: ${type};`)]
    .map((line) => `declare ${line}`)
    .join("\n");
};

/** All of them, one after the other. */
const main = (list: readonly string[]): string => `
for (const [entry, names] of Object.entries(${JSON.stringify(IMPORTED)})) {
  const module = await import(entry);
  for (const name of names) globalThis[name] = module[name];
}
Object.assign(globalThis, { ${Object.entries(MADE).map(([name, [value]]) => `${name}: ${value}`)} });
const results = [];
const write = process.stdout.write;
for (const file of ${JSON.stringify(list)}) {
  let printed = "";
  process.stdout.write = (text) => Boolean((printed += text));
  const error = await import("./" + file).then(() => undefined, (error) => String(error?.stack ?? error) + (error?.hint ?? ""));
  process.stdout.write = write;
  results.push({ printed, error });
}
console.log(JSON.stringify(results));
process.exit();`;

const ADAPTER = process.env.INTERNVL_ADAPTER ?? "swiftshader";

it(`every example runs, and prints what it says (${ELSEWHERE})`, { skip: isQuick, timeout: 600_000 }, async () => {
  expect(runnable.length).toBeGreaterThan(40);
  const hub = await hubServer("OpenGVLab/InternVL2_5-2B", filesBelow(pathOf("weights/nano")));
  const folder = snippetFolder();
  try {
    const here = ({ code }: Snippet) =>
      code.replaceAll("https://huggingface.co", hub.origin).replaceAll(/"(nvidia|amd)"/g, JSON.stringify(ADAPTER));
    const list = runnable.map((each, i) => {
      const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
      writeFileSync(join(folder.path, `${i}.mjs`), ts.transpileModule(here(each), { compilerOptions: options }).outputText);
      return `${i}.mjs`;
    });
    const results: { printed: string; error?: string }[] = JSON.parse(await runScript(main(list), folder.path));
    const found = results.map(({ printed, error }, i) => ({ at: runnable[i]!.at, error, printed: printed.trim() }));
    const expected = runnable.map(({ at, code }, i) => {
      const texts = promised(code);
      return { at, error: undefined, printed: texts.length > 0 ? texts.join("\n") : found[i]!.printed };
    });
    expect(found).toEqual(expected);
  } finally {
    folder.remove();
    await hub.close();
  }
});

it(`every example is right by its types (${ELSEWHERE})`, { skip: isQuick }, async () => {
  const folder = snippetFolder();
  try {
    for (const [i, { code, at }] of snippets.entries()) writeFileSync(join(folder.path, `${i}.ts`), `// ${at}\nexport {};\n${code}`);
    writeFileSync(join(folder.path, "given.d.ts"), declared());
    const options = { noUnusedLocals: false, paths: {} };
    writeFileSync(
      join(folder.path, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"], exclude: [], compilerOptions: options }),
    );
    const { stdout } = spawnSync(pathOf("node_modules/.bin/tsc"), ["-p", folder.path], { encoding: "utf8" });
    expect(stdout).toBe("");
  } finally {
    folder.remove();
  }
});

it("what library.md says of an option, an example shows", () => {
  const shown = snippetsOf("docs/library.md", "ts|js")
    .map(({ code }) => code)
    .join("\n");
  const table = readFileSync(pathOf("docs/library.md"), "utf8").split("## Options")[1]!.split("\n## ")[0]!;
  const named = [...table.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell]) => [...cell!.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter((name) => name !== "worker" && !new RegExp(`\\b${name}\\b\\s*[:,}]`).test(shown))).toEqual([]);
});
