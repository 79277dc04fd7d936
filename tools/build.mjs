// Builds dist/: embeds the shaders, compiles the library, the tools and the safetensors-ts workspace, then bundles what browsers take.
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync } from "node:fs";
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
node("tools/browser/build.mjs");
chmodSync(join(root, "dist/tools/cli/main.js"), 0o755);
