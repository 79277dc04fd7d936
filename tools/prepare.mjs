// npm runs this in a clone, so that `npm ci` is followed by `npx internvl`, and for a dependency from git, which npm does not run prepack for.
// Packing has run prepack just before, and without the development packages there is nothing to build with. npx links the clone before its first
// command and runs this again: what `npm ci` has built stays, or Ctrl-C then would leave none.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const packs = ["pack", "publish"].includes(process.env.npm_command);
const linked = process.env.npm_command === "exec" && existsSync(new URL("../dist/tools/cli/main.js", import.meta.url));
const compiles = () => {
  try {
    return createRequire(import.meta.url).resolve("typescript/bin/tsc");
  } catch {
    console.error("internvl-webgpu: dist/ is not built, the development packages are missing: npm ci");
    return undefined;
  }
};
if (!packs && !linked && compiles()) await import("./build.mjs");
