// Writes src/text/xgrammar.gen.ts, which git ignores: the grammar engine of @mlc-ai/web-xgrammar (Apache-2.0; XGrammar, compiled to WebAssembly)
// as an ES module. As it is published it runs in nothing but a page's script: it is a UMD file that calls itself an ES module, so that Node finds
// no `require`, and bundlers for pages find an import of Node's `module`. Both are in a branch for Node that it does not need.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
let code = readFileSync(join(root, "node_modules/@mlc-ai/web-xgrammar/lib/index.js"), "utf8");
const { version } = JSON.parse(readFileSync(join(root, "node_modules/@mlc-ai/web-xgrammar/package.json"), "utf8"));

/** Replaces text that must occur exactly `times` times. */
function replace(what, count, by) {
  const found = code.match(what)?.length ?? 0;
  if (found !== count)
    throw new Error(`@mlc-ai/web-xgrammar ${version} is another than this script knows: ${what} is there ${found} times`);
  code = code.replace(what, () => by);
}

replace(/\(typeof document === 'undefined' && typeof location === 'undefined' \? require\('u'.*?\.href\)\)/g, 3, '"file:///"');
replace(/ENVIRONMENT_IS_NODE=typeof process=="object"[^;]*;/g, 1, "ENVIRONMENT_IS_NODE=false;");
replace(/await import\('module'\)/g, 1, "{}");
replace(/\/\/# sourceMappingURL=.*/g, 1, "");

const text = `// @ts-nocheck
// Written by tools/embed-xgrammar.mjs from @mlc-ai/web-xgrammar ${version}. Do not edit.
/*! XGrammar, Apache-2.0: https://github.com/mlc-ai/xgrammar */
export function engine() {
  const exports: any = {};
  const module = { exports };
${code}
  return exports;
}
`;
const target = join(root, "src/text/xgrammar.gen.ts");
if (!existsSync(target) || readFileSync(target, "utf8") !== text) writeFileSync(target, text);
