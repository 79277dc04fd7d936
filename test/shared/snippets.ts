import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { encodeHeader } from "../../src/safetensors/index.ts";
import { pathOf } from "../support.ts";

/** An example in a page or in a comment of the code. */
export interface Snippet {
  /** `docs/library.md:36`. */
  at: string;
  /** What stands behind the language: `page` for what runs in pages alone. */
  where: string;
  code: string;
}

/** The blocks of a file in some languages: a page's, or those of its doc comments. */
export function snippetsOf(file: string, languages: string): Snippet[] {
  const text = readFileSync(pathOf(file), "utf8").replace(file.endsWith(".md") ? /$^/ : /^ *\* ?/gm, "");
  return [...text.matchAll(new RegExp(`^\`\`\`(?:${languages})(?: (\\w+))?\n(.*?)^\`\`\``, "gms"))].map(
    ({ 1: where = "", 2: code, index }) => ({
      at: `${file}:${text.slice(0, index).split("\n").length}`,
      where,
      code: code!,
    }),
  );
}

/** What an example says that it prints: the comments behind what prints, and lines that are nothing but a comment below. */
export const promised = (code: string): string[] =>
  [...code.matchAll(/(?:console\.log|stdout\.write)\(.*\);? \/\/ (.*)((?:\n\/\/ .*)*)/g)].flatMap(([, first, more]) => [
    first!,
    ...more!.split("\n// ").slice(1),
  ]);

/** Runs a script; what it prints. */
export async function runScript(code: string, folder: string, file = "snippet.mjs"): Promise<string> {
  writeFileSync(join(folder, file), code);
  const run = promisify(execFile)(process.execPath, [file], { cwd: folder, maxBuffer: 2 ** 24 });
  return (await run.catch((error) => Promise.reject(new Error(`${error.stdout}\n${error.stderr}\n${code}`)))).stdout;
}

/** A folder of the repository, where packages and this one are found, with what examples speak of: models, an adapter, pictures, a video. */
export function snippetFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(pathOf("test/snippets-"));
  const link = (from: string, to: string) => {
    mkdirSync(dirname(join(path, to)), { recursive: true });
    symlinkSync(pathOf(from), join(path, to));
  };
  for (const model of [
    "OpenGVLab/InternVL2_5-1B",
    "OpenGVLab/InternVL2_5-8B",
    "InternVL2_5-4B",
    "node_modules/internvl-webgpu/weights/nano",
  ])
    link("weights/nano", model);
  for (const picture of ["photo.png", "photo.jpg"]) link("weights/nano/images/card-1.png", picture);
  for (const i of [1, 2]) link(`weights/nano/images/walk-${i}.png`, `frame${i}.png`);
  link("weights", "weights");
  link("test/fixtures/video/h264.mp4", "clip.mp4");
  const on = "base_model.model.language_model.model.layers.0.self_attn.q_proj";
  const zeros = encodeHeader([
    { name: `${on}.lora_A.weight`, dtype: "F32", shape: [1, 256] },
    { name: `${on}.lora_B.weight`, dtype: "F32", shape: [256, 1] },
  ]);
  mkdirSync(join(path, "my-lora"));
  const config = { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: ["q_proj"] };
  writeFileSync(join(path, "my-lora/adapter_config.json"), JSON.stringify(config));
  writeFileSync(join(path, "my-lora/adapter_model.safetensors"), Buffer.concat([zeros, Buffer.alloc(2 * 256 * 4)]));
  return { path, remove: () => rmSync(path, { recursive: true }) };
}
