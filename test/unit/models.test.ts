import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { inspect } from "../../src/convert.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { parseConfig } from "../../src/model/config.ts";
import { DECODERS } from "../../src/model/families.ts";
import { memoryNeed, tileBytes } from "../../src/model/memory.ts";
import { MODELS } from "../../src/model/published.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { TEMPLATES } from "../../src/text/template.ts";
import { gibibytes } from "../../src/weights/fit.ts";
import { needs as askNeeds, FAMILY } from "../../tools/family.ts";
import { fixture, memoryFiles, pathOf, tinyCheckpoint } from "../support.ts";

const LAYOUTS = { original: "original", huggingface: "Hugging Face" };

/** A row of the tables in README and docs/models.md. */
const cells = ({ models, layout, decoder, tokenizer, templates, stop, checked }: (typeof MODELS)[number]): string[] => [
  ...[models, LAYOUTS[layout], decoder.replace("ForCausalLM", ""), tokenizer],
  templates.map((name) => (name === "huggingface" ? "chat_template.jinja" : name)).join(", "),
  ...[`\`${stop.replaceAll("|", "\\|")}\``, checked],
];
const row = (all: readonly string[]): string => `| ${all.join(" | ")} |`;
const tableOf = (path: string): string[] =>
  readFileSync(pathOf(path), "utf8")
    .split("\n")
    .filter((line) => /^\| (Mini-)?InternVL.*(original|Hugging Face) \|/.test(line));

describe("the models that load", () => {
  it("are those of README and docs/models.md", () => {
    expect(tableOf("README.md")).toEqual(MODELS.map((each) => row(cells(each).slice(0, 6))));
    expect(tableOf("docs/models.md")).toEqual(MODELS.map((each) => row(cells(each))));
  });

  it("cover every decoder and every template, each once", () => {
    expect(new Set(MODELS.map(({ decoder }) => decoder))).toEqual(new Set(Object.keys(DECODERS)));
    expect(new Set(MODELS.flatMap(({ templates }) => templates))).toEqual(new Set(Object.keys(TEMPLATES)));
    const kinds = MODELS.flatMap(({ layout, decoder, templates }) => templates.map((each) => `${layout} ${decoder} ${each}`));
    expect(new Set(kinds).size).toBe(kinds.length);
  });
});

describe("what a GPU must have", () => {
  /** By the published configurations, with what `load` and `inspect` reckon with. */
  const needs = FAMILY.map(({ model }) => {
    const config = parseConfig(fixture(`${model.toLowerCase()}.config.json`));
    const shapes = new Map(checkpointTensors(config).map(({ name, shape }) => [name, { dtype: "BF16", shape }]));
    const stored = { names: () => shapes.keys(), get: (name: string) => shapes.get(name) };
    const of = (format: "bf16" | "q8" | "q4") => memoryNeed(config, stored, format).total;
    const tile = tileBytes(config);
    expect(of("q4") - memoryNeed(config, stored, "q4", 1).total).toBe(3 * tile); // what it is less on a phone
    return { model, tile, bytes: { bf16: of("bf16"), q8: of("q8"), q4: of("q4") } };
  });

  it("is what doctor tells of the family", () => {
    expect(FAMILY).toEqual(needs);
  });

  it("is below 1.03 GB for a 1B in q4 on a phone, where doctor and the page subtract three tiles", async () => {
    const memory = {
      maxBinding: 2 ** 30,
      scoped: (_: string, work: () => unknown) => work(),
      create: () => ({}),
      destroy() {},
      async flush() {},
    };
    const asked = async (mobile: boolean) =>
      (await askNeeds({ kind: "gpu", mobile, memory } as unknown as Gpu, undefined)).filter(({ format }) => format === "q4");
    const [here, phone] = await Promise.all([asked(false), asked(true)]);
    expect(here.map(({ bytes }, i) => bytes - phone[i]!.bytes)).toEqual(needs.map(({ tile }) => 3 * tile));
    for (const { model, bytes } of phone) if (/^InternVL(2_5|3)-1B$/.test(model)) expect(bytes).toBeLessThan(1.03e9);
  });

  it("is the table of docs/models.md", () => {
    const rows = needs.map(({ model, bytes: { bf16, q8, q4 } }) => row([model, gibibytes(bf16), gibibytes(q8), gibibytes(q4)]));
    expect(rows.length).toBeGreaterThan(10);
    expect(readFileSync(pathOf("docs/models.md"), "utf8").match(/^\| .* GiB \|$/gm)).toEqual(rows);
  });

  it("is what inspect tells of such a checkpoint", async () => {
    const files = tinyCheckpoint("tiny-qwen", 0);
    const { memory, totals } = await inspect(memoryFiles(files));
    expect(memory.context).toBe(4096); // all positions that it has
    expect(Object.keys(memory.formats)).toEqual(["bf16", "q8", "q4"]);
    const { weights, state, activations, total } = memory.formats.bf16!;
    expect(weights).toBeGreaterThan(totals.bytes); // vectors are f32
    expect(state).toBe(3 * 2 * 2 * 32 * 4096 * 2 + 4096 * 4 * (32 + 128));
    expect(total).toBe(weights + state + activations);
  });
});
