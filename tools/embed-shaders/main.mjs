// Writes src/gpu/shaders.gen.ts from shaders/**/*.wgsl. With --check: exits 1 if it is not up to date.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const target = join(root, "src/gpu/shaders.gen.ts");

const names = readdirSync(join(root, "shaders"), { recursive: true })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => name.endsWith(".wgsl"))
  .sort();
const entries = names.map(
  (name) => `  ${JSON.stringify(name.slice(0, -5))}: ${JSON.stringify(readFileSync(join(root, "shaders", name), "utf8"))},\n`,
);
const text = `// Written by tools/embed-shaders from shaders/. Do not edit.\nexport const shaders = {\n${entries.join("")}} as const;\n\nexport type ShaderName = keyof typeof shaders;\n`;

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("src/gpu/shaders.gen.ts is out of date: npm run embed");
    process.exit(1);
  }
} else if (!existsSync(target) || readFileSync(target, "utf8") !== text) {
  writeFileSync(target, text);
}
