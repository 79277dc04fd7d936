import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pathOf } from "../support.ts";
import { type Consumer, packedConsumer } from "./packed.ts";

// A stranger's compiler checks our declarations too (skipLibCheck: false), and knows only what his own setting says.

let consumer: Consumer;
let project: string;

beforeAll(() => {
  consumer = packedConsumer(["@types/node", "undici-types", "@webgpu/types"]); // the latter three for the settings that name them
  project = consumer.project;
  cpSync(pathOf("test/toolchains/consumer"), join(project, "src"), { recursive: true });
});
afterAll(() => consumer.remove());

// The compiler's own libraries are read once for all settings.
const parsed = new Map<string, ts.SourceFile | undefined>();

/** What `tsc` prints for some files of the project. */
function compile(files: string[], lib: string[], types: string[], resolution: "nodenext" | "bundler"): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: lib.map((name) => `lib.${name}.d.ts`),
    types,
    ...(resolution === "nodenext"
      ? { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }
      : { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler }),
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile;
  host.getCurrentDirectory = () => project;
  host.getSourceFile = (path, ...rest) => {
    if (!/\/typescript\/lib\//.test(path)) return read(path, ...rest);
    if (!parsed.has(path)) parsed.set(path, read(path, ...rest));
    return parsed.get(path);
  };
  const program = ts.createProgram(
    files.map((file) => join(project, "src", file)),
    options,
    host,
  );
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText, code }) => {
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName.slice(project.length + 1)}:${line} TS${code} ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
  });
}

describe("the packed package in a consumer with skipLibCheck: false", () => {
  it.each([
    ["es2022", "nodenext", ["es2022"]],
    ["es2022", "bundler", ["es2022"]],
    ["es2022 and DOM", "nodenext", ["es2022", "dom"]],
    ["es2022 and DOM", "bundler", ["es2022", "dom"]],
  ] as const)("lib %s, moduleResolution %s", (_, resolution, lib) => {
    const files = ["surface.ts", ...(lib.length > 1 ? ["page.ts"] : [])];
    expect(compile(files, [...lib], [], resolution)).toEqual([]);
  });

  it("beside @types/node without DOM", () => {
    expect(compile(["surface.ts", "node.ts"], ["es2022"], ["node"], "nodenext")).toEqual([]);
  });

  it("beside @webgpu/types", () => {
    expect(compile(["surface.ts", "page.ts", "gpu.ts"], ["es2022", "dom", "dom.iterable"], ["@webgpu/types"], "bundler")).toEqual([]);
  });

  it("beside all of them, as in many projects", () => {
    const files = ["surface.ts", "page.ts", "node.ts", "gpu.ts"];
    expect(compile(files, ["es2023", "dom"], ["node", "@webgpu/types"], "nodenext")).toEqual([]);
  });

  it("adds no global name to the consumer's", () => {
    writeFileSync(join(project, "src/names.ts"), 'import "internvl-webgpu";\nexport type Names = [AbortSignal, GPUDevice, HTMLElement];\n');
    expect(compile(["names.ts"], ["es2022"], [], "nodenext")).toEqual(
      ["AbortSignal", "GPUDevice", "HTMLElement"].map((name) => expect.stringContaining(`Cannot find name '${name}'`)),
    );
  });
});

it("README's links lead to files that come along", () => {
  const inside = join(project, "node_modules/internvl-webgpu");
  const links = [...readFileSync(join(inside, "README.md"), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, to]) => to!);
  expect(links.length).toBeGreaterThan(10);
  expect(links.filter((to) => !existsSync(join(inside, to)))).toEqual([]);
});

it("publint and attw find nothing", () => {
  const bin = (name: string) => pathOf(`node_modules/.bin/${name}`);
  const lint = spawnSync(bin("publint"), ["--strict", "run", consumer.tarball], { encoding: "utf8" });
  expect(lint.status, lint.stdout + lint.stderr).toBe(0);
  const types = spawnSync(bin("attw"), ["--profile", "esm-only", consumer.tarball], { encoding: "utf8" });
  expect(types.status, types.stdout + types.stderr).toBe(0);
});
