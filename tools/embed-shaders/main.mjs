// Writes shaders/**/*.wgsl into TypeScript: those of shaders/cpu/, which only CPU adapters run, into src/ops/cpu/shaders.gen.ts, all others
// into src/gpu/shaders.gen.ts. With --check: exits 1 if one of the two is not up to date.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const names = readdirSync(join(root, "shaders"), { recursive: true })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => name.endsWith(".wgsl"))
  .sort();

function embed(target, type, chosen) {
  const entries = chosen.map(
    (name) => `  ${JSON.stringify(name.slice(0, -5))}: ${JSON.stringify(readFileSync(join(root, "shaders", name), "utf8"))},\n`,
  );
  const text = `// Written by tools/embed-shaders from shaders/. Do not edit.\nexport const shaders = {\n${entries.join("")}} as const;\n\nexport type ${type} = keyof typeof shaders;\n`;
  const path = join(root, target);
  if (existsSync(path) && readFileSync(path, "utf8") === text) return;
  if (process.argv.includes("--check")) {
    console.error(`${target} is out of date: npm run embed`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, text);
  }
}

const isCpu = (name) => name.startsWith("cpu/");
embed(
  "src/gpu/shaders.gen.ts",
  "ShaderName",
  names.filter((name) => !isCpu(name)),
);
embed("src/ops/cpu/shaders.gen.ts", "CpuShaderName", names.filter(isCpu));
