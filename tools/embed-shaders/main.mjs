// Writes shaders/**/*.wgsl into TypeScript, without comments, empty lines and needless spaces: a page downloads them. Lines and names stay, for
// compilers' messages. Those of shaders/cpu/, which only CPU adapters run, go into src/ops/cpu/shaders.gen.ts, what only tools run (probes of
// benchmarks, synthetic weights) into src/ops/tools/shaders.gen.ts, what few models and devices run into src/gpu/shaders-late.gen.ts, all others
// into src/gpu/shaders.gen.ts. With --check: exits 1 if one of them is not up to date.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** What greedy answers of a model in bf16 or q4 do without, on a GPU without matrix units. */
const LATE = [
  /^(awq|lora|quantize)\.|^lib\/(awq|cast|groups)/,
  /^matmul\.(gemm_subgroup_matrix|gemv_subgroup_matrix|gemm_dot4|quantize)\.|^attention\.(flash_subgroup_matrix|reals)\.|^lib\/reals\./,
  /^lib\/(block|share|weight|widen)\.(f16|f32|q8)\./,
  /^lib\/(append|kv|kv_append|kv_read|kv_vec8)\.f32\.|^lib\/kv_block\.vec4\./, // keys and values in f32, heads of odd widths
  /^norm\.qk\.|^lib\/(head_norm|query_norm)\.rms\./, // InternViT-6B, Qwen3
  /^sample\.(bias|blocks|histogram|penalize|pick|probability|top)\.|^lib\/(search|wide)\./,
];
const TARGETS = [
  { path: "src/ops/cpu/shaders.gen.ts", type: "CpuShaderName", takes: (name) => name.startsWith("cpu/") },
  { path: "src/ops/tools/shaders.gen.ts", takes: (name) => /^(bench|synth)\./.test(name) },
  {
    path: "src/gpu/shaders-late.gen.ts",
    type: "LateShaderName",
    takes: (name) => LATE.some((each) => each.test(name)),
  },
  { path: "src/gpu/shaders.gen.ts", type: "ShaderName", takes: () => true },
];

const isOperator = (character) => /[-+*/%=<>!&|^]/.test(character);
/** A space stays between two words, and between two operators, which would become another: `vec4<f32> =`, `a - -b`. */
const tight = (line) =>
  line.trim().replace(/(.) +(?=(.))/g, (_, before, after) => {
    const [one, other] = [before, after].map((character) => (/[\w@.]/.test(character) ? "word" : isOperator(character) ? "operator" : ""));
    return one && one === other ? `${before} ` : before;
  });

const LETTERS = { f16: "h", f32: "f", i32: "i", u32: "u" };
/** `vec4f` for `vec4<f32>`: the same type by WGSL's own short name. */
const short = (wgsl) => wgsl.replace(/\b(vec\d|mat\dx\d)<(f16|[fiu]32)>/g, (_, shape, of) => shape + LETTERS[of]);

/** WGSL has no strings and these files no block comments: whatever follows `//` is a comment. */
const bare = (wgsl) =>
  short(wgsl)
    .split("\n")
    .map((line) => tight(line.replace(/\/\/.*/, "")))
    .filter((line) => line !== "")
    .join("\n");

const VERSION = (version) => `\n/** Of all kernels, in every file. */\nexport const version = ${JSON.stringify(version)};\n`;

const texts = TARGETS.map(() => "");
const names = readdirSync(join(root, "shaders"), { recursive: true }).map((name) => name.replaceAll("\\", "/"));
for (const name of names.filter((name) => name.endsWith(".wgsl")).sort()) {
  const wgsl = `${bare(readFileSync(join(root, "shaders", name), "utf8"))}\n`;
  texts[TARGETS.findIndex(({ takes }) => takes(name))] += `  ${JSON.stringify(name.slice(0, -5))}: ${JSON.stringify(wgsl)},\n`;
}

const version = createHash("sha256").update(texts.join("")).digest("hex").slice(0, 8);
for (const [i, { path, type }] of TARGETS.entries()) {
  const names = type ? `\nexport type ${type} = keyof typeof shaders;\n${type === "ShaderName" ? VERSION(version) : ""}` : "";
  const text = `// Written by tools/embed-shaders from shaders/. Do not edit.\nexport const shaders = {\n${texts[i]}} as const;\n${names}`;
  const target = join(root, path);
  if (existsSync(target) && readFileSync(target, "utf8") === text) continue;
  if (process.argv.includes("--check")) {
    console.error(`${path} is out of date: npm run embed`);
    process.exitCode = 1;
  } else {
    writeFileSync(target, text);
  }
}
