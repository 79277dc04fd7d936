import type { Choice, Program } from "../../src/gpu/program.ts";

/** `layers.*.attn.q_proj+k_proj`: without what stands before, in every part, and the layer's number. */
function shortened(product: string): string {
  const [first = "", ...more] = product.split("+").map((name) => name.replace(/\.weight$/, ""));
  const from = first.replace(/^(language_model\.(model\.)?|vision_model\.(encoder\.)?)/, "").replace(/^layers\.\d+\./, "layers.*.");
  return [from, ...more.map((name) => name.slice(name.lastIndexOf(".") + 1))].join("+");
}

/** Which kernel each product of some programs takes: each once, whatever the number of layers and slots. */
export function productsOf(programs: readonly Program[]): Choice[] {
  const all = programs.flatMap(({ choices }) => choices.map((each) => ({ ...each, product: shortened(each.product) })));
  return [...new Map(all.map((each) => [JSON.stringify(each), each])).values()];
}

export function describeProducts(choices: readonly Choice[]): string[] {
  const rows = choices.map(({ program, product, shape: [n, k], dtype, rows, variant, why }) => [
    `${program}, ${rows} ${rows === 1 ? "row" : "rows"}`,
    `${product} [${n}, ${k}] ${dtype}`,
    variant,
    why,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `         ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd());
}
