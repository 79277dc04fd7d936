// Makes a package's declarations independent of what its consumer's compiler knows: source files name the platform's types as globals, which
// a consumer without "DOM" or "@webgpu/types" does not have. What is missing there is imported from globals.d.ts.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const GLOBALS = join(dirname(fileURLToPath(import.meta.url)), "globals.d.ts");
const NO_SUCH_NAME = [2304, 2552]; // the latter with a suggestion

/** What the declarations lack with the library of ES2022 alone: a list of [file, code, text, name]. */
function missing(entries) {
  const program = ts.createProgram(entries, {
    lib: ["lib.es2022.d.ts"],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    types: [],
    strict: true,
    noEmit: true,
  });
  const own = ({ file }) => !file?.fileName.includes("/node_modules/"); // what other packages need is theirs
  return ts
    .getPreEmitDiagnostics(program)
    .filter(own)
    .map(({ file, code, messageText, start, length }) => ({
      path: file?.fileName ?? "",
      code,
      name: file?.text.slice(start, start + length) ?? "",
      text: ts.flattenDiagnosticMessageText(messageText, " "),
    }));
}

/**
 * Adds to the declarations behind `entries` what they need of the platform.
 *
 * @param folder where globals.d.ts goes: above all of them
 * @throws Error naming what neither ES2022 nor globals.d.ts has
 */
export function detachDeclarations(folder, entries) {
  const known = new Set(
    [...readFileSync(GLOBALS, "utf8").matchAll(/^export (?:declare )?(?:type|interface|const) (\w+)/gm)].map(([, name]) => name),
  );
  const target = join(folder, "globals.d.ts");
  copyFileSync(GLOBALS, target);
  const files = new Map();
  for (const { path, code, name } of missing(entries)) {
    const needs = files.get(path) ?? { names: new Set(), disposable: false };
    files.set(path, needs);
    if (NO_SUCH_NAME.includes(code) && known.has(name)) needs.names.add(name);
    if (name === "asyncDispose") needs.disposable = true;
  }
  for (const [path, { names, disposable }] of files) {
    const from = relative(dirname(path), target)
      .replaceAll("\\", "/")
      .replace(/\.d\.ts$/, ".js");
    const lines = [
      ...(disposable ? ['/// <reference lib="esnext.disposable" />'] : []),
      ...(names.size ? [`import type { ${[...names].sort().join(", ")} } from "${from.startsWith(".") ? from : `./${from}`}";`] : []),
    ];
    if (lines.length) writeFileSync(path, `${lines.join("\n")}\n${readFileSync(path, "utf8")}`);
  }
  const left = missing(entries).map(({ path, text }) => `${relative(folder, path)}: ${text}`);
  if (left.length) {
    throw new Error(`declarations need what consumers may not have; add it to tools/declarations/globals.d.ts:\n  ${left.join("\n  ")}`);
  }
}
