import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { fixture, pathOf } from "../support.ts";

const TOKENIZER = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/** A checkpoint of seed 0 that `internvl synth` writes, with the real tokenizer, and how to remove it. */
export function synthesized(config: string): { folder: string; remove: () => void } {
  const made = mkdtempSync(join(tmpdir(), "internvl-full-"));
  const tokenizer = join(made, "tokenizer");
  mkdirSync(tokenizer);
  for (const name of TOKENIZER) writeFileSync(join(tokenizer, name), fixture(`tokenizer/${name}`));
  writeFileSync(join(tokenizer, "tokenizer.json"), gunzipSync(fixture("tokenizer/tokenizer.json.gz")));
  const folder = join(made, "model");
  const args = ["synth", "--config", pathOf(`test/fixtures/${config}`), "--seed", "0", "--tokenizer", tokenizer, "--out", folder];
  const { status, stderr } = spawnSync(process.execPath, [pathOf("dist/tools/cli/main.js"), ...args], { encoding: "utf8" });
  const remove = () => rmSync(made, { recursive: true });
  if (status === 0) return { folder, remove };
  remove();
  throw new Error(`internvl synth failed: ${stderr}`);
}
