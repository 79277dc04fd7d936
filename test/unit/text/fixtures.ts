import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect } from "vitest";
import { EngineError } from "../../../src/errors.ts";
import type { ReadFile } from "../../../src/json.ts";
import { loadTokenizer, type Tokenizer } from "../../../src/text/tokenizer.ts";

const root = new URL("../../../", import.meta.url);

export const TINY = ["tiny-qwen", "tiny-qwen-tied", "tiny-internlm2", "tiny-vit6b"];

export type Files = Record<string, string | Uint8Array>;

/** A checkpoint's folder that exists in memory only. */
export function folder(files: Files): ReadFile {
  return async (name) => {
    const file = Object.hasOwn(files, name) ? files[name] : undefined;
    return typeof file === "string" ? new TextEncoder().encode(file) : file;
  };
}

export const load = (files: Files, rows?: number): Promise<Tokenizer> => loadTokenizer(folder(files), rows);

export function readBytes(path: string): Uint8Array {
  const bytes = readFileSync(new URL(path, root));
  return path.endsWith(".gz") ? gunzipSync(bytes) : bytes;
}

export const readText = (path: string): string => new TextDecoder().decode(readBytes(path));
export const readJson = (path: string) => JSON.parse(readText(path));

const CONFIGS = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/** The files of the three tokenizers at hand. Only tiny comes in slow form; the others' is derived from tokenizer.json. */
export function tokenizerFiles(name: "real" | "tiny" | "nano"): { fast: Files; slow: Files } {
  const at = { real: "test/fixtures/tokenizer", tiny: "test/fixtures/tiny/tokenizer", nano: "weights/nano" }[name];
  const configs = Object.fromEntries(CONFIGS.map((file) => [file, readText(`${at}/${file}`)]));
  const json = readText(`${at}/tokenizer.json${name === "real" ? ".gz" : ""}`);
  if (name === "tiny") {
    const slow = { "vocab.json": readText(`${at}/vocab.json`), "merges.txt": readText(`${at}/merges.txt`) };
    return { fast: { "tokenizer.json": json, ...configs }, slow: { ...slow, ...configs } };
  }
  const { vocab, merges } = JSON.parse(json).model;
  const slow = { "vocab.json": JSON.stringify(vocab), "merges.txt": `#version: 0.2\n${merges.join("\n")}\n` };
  return { fast: { "tokenizer.json": json, ...configs }, slow: { ...slow, ...configs } };
}

const loaded = new Map<string, Promise<Tokenizer>>();

/** A tokenizer at hand, loaded once: the real one takes seconds. */
export function loadOnce(name: "real" | "tiny" | "nano", form: "fast" | "slow"): Promise<Tokenizer> {
  const key = `${name} ${form}`;
  const found = loaded.get(key) ?? load(tokenizerFiles(name)[form]);
  loaded.set(key, found);
  return found;
}

/** A case of expected.json: a batch holds lists where a single prompt holds one value. */
interface GoldenCase {
  name: string;
  question: string | string[];
  history: [string, string][] | null;
  num_patches_list: number[] | null;
  pixel_values: { shape: number[] } | null;
  prompt: string | string[];
  input_ids: number[] | number[][];
  attention_mask?: number[][];
  new_ids: number[] | number[][];
  response: string | string[] | null;
}

export interface GoldenRow {
  name: string; // "tiny-qwen/single", "tiny-qwen/batch[0]"
  question: string;
  history: [string, string][] | undefined;
  tiles: number[]; // per placeholder
  hasPixels: boolean;
  prompt: string;
  inputIds: number[]; // without left padding
  newIds: number[];
  response: string | undefined;
}

/** Every prompt of the tiny goldens; a batch gives one row for each of its questions. */
export function goldenRows(model: string): GoldenRow[] {
  const { cases }: { cases: GoldenCase[] } = readJson(`test/fixtures/tiny/${model}/expected.json`);
  return cases.flatMap((c) => {
    const batch = Array.isArray(c.question);
    const rows = <T>(value: T | T[]): T[] => (batch ? (value as T[]) : [value as T]);
    const ids = (value: number[] | number[][]) => (Array.isArray(value[0]) ? (value as number[][]) : [value as number[]]);
    return rows(c.question).map((question, row) => {
      const all = c.num_patches_list ?? (c.pixel_values === null ? [] : [c.pixel_values.shape[0]!]);
      return {
        name: `${model}/${c.name}${batch ? `[${row}]` : ""}`,
        question,
        history: c.history ?? undefined,
        tiles: batch ? [all[row]!] : all,
        hasPixels: c.pixel_values !== null,
        prompt: rows(c.prompt)[row]!,
        inputIds: ids(c.input_ids)[row]!.filter((_, i) => c.attention_mask === undefined || c.attention_mask[row]![i] === 1),
        newIds: ids(c.new_ids)[row]!,
        response: c.response === null ? undefined : rows(c.response)[row]!,
      };
    });
  });
}

/** The error of files that are no tokenizer. */
export async function failure(files: Files): Promise<EngineError> {
  const error = await load(files).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(EngineError);
  expect((error as EngineError).code).toBe("bad-weights");
  expect((error as EngineError).hint).toMatch(/\w+ \w+/);
  return error as EngineError;
}
