// Builds dist/: embeds the shaders, then compiles the library, the tools and the safetensors-ts workspace.
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { detachDeclarations } from "./declarations/detach.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

function node(...args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

rmSync(join(root, "dist"), { recursive: true, force: true });
rmSync(join(root, "src/safetensors/dist"), { recursive: true, force: true });
node("tools/embed-shaders/main.mjs");
node("tools/embed-xgrammar.mjs");
node(tsc, "-p", "src/safetensors/tsconfig.json");
node(tsc, "-p", "tsconfig.build.json");
const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
detachDeclarations(
  join(root, "dist/src"),
  Object.values(exports).flatMap(({ types }) => (types ? [join(root, types)] : [])),
);
detachDeclarations(join(root, "src/safetensors/dist"), [join(root, "src/safetensors/dist/index.d.ts")]);
// The compiler renames imports from .ts to .js, but not the addresses of workers' scripts.
for (const file of ["dist/src/api/worker.js", "dist/src/platform/web-thread.js"]) {
  const compiled = readFileSync(join(root, file), "utf8");
  const renamed = compiled.replace(/new URL\("([^"]+)\.ts", import\.meta\.url\)/, 'new URL("$1.js", import.meta.url)');
  if (renamed === compiled) throw new Error(`${file}: the worker's script is not where the build looks for it`);
  writeFileSync(join(root, file), renamed);
}
chmodSync(join(root, "dist/tools/cli/main.js"), 0o755);
