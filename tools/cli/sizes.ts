import { readFileSync } from "node:fs";
import { parseConfig } from "../../src/model/config.ts";
import { memoryNeed } from "../../src/model/memory.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";

/** The published sizes of InternVL 2.5. */
const SIZES = ["1B", "2B", "4B", "8B", "26B", "38B", "78B"];
const ROOT = new URL(import.meta.url.includes("/dist/tools/") ? "../../../" : "../../", import.meta.url);
const FORMATS = ["bf16", "q8", "q4"] as const;

/** Bytes that each size takes on the GPU with a default context, by format: what `load` reckons with, and `inspect` of the files. */
export function sizes(): Record<string, Record<(typeof FORMATS)[number], number>> {
  return Object.fromEntries(
    SIZES.map((size) => {
      const config = parseConfig(readFileSync(new URL(`test/fixtures/internvl2_5-${size.toLowerCase()}.config.json`, ROOT)));
      const shapes = new Map(checkpointTensors(config).map(({ name, shape }) => [name, { dtype: "BF16", shape }]));
      const stored = { names: () => shapes.keys(), get: (name: string) => shapes.get(name) };
      const needs = FORMATS.map((format) => [format, memoryNeed(config, stored, format).total] as const);
      return [`InternVL2_5-${size}`, Object.fromEntries(needs) as Record<(typeof FORMATS)[number], number>];
    }),
  );
}
