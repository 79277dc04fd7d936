// npm runs this in a clone, so that `npm ci` is followed by `npx internvl`, and for a dependency from git, which npm does not run prepack for.
// Packing has run prepack just before, and without the development packages there is nothing to build with.
import { createRequire } from "node:module";

const packs = ["pack", "publish"].includes(process.env.npm_command);
const compiles = () => {
  try {
    return createRequire(import.meta.url).resolve("typescript/bin/tsc");
  } catch {
    console.error("internvl-webgpu: dist/ is not built, the development packages are missing: npm ci");
    return undefined;
  }
};
if (!packs && compiles()) await import("./build.mjs");
