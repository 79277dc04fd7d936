import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DECODERS, MODELS } from "../../src/model/families.ts";
import { TEMPLATES } from "../../src/text/template.ts";
import { pathOf } from "../support.ts";

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
