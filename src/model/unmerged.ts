import { badWeights } from "../errors.ts";
import { type Checkpoint, quote } from "../safetensors/index.ts";
import type { Adapted } from "../weights/lora.ts";
import type { StoredShape } from "../weights/tensor-source.ts";
import type { ModelConfig } from "./config.ts";
import { bad } from "./config-fields.ts";

/** The towers that upstream's training wraps, and the keys of config.json that say so: the LoRA's rank. */
const TOWERS = { language_model: ["use_llm_lora", "language"], vision_model: ["use_backbone_lora", "vision"] } as const;

const WRAPPED = /^(language_model|vision_model)\.base_model\.model\.(.+)$/;

/** What a checkpoint holds that upstream's training saved with its LoRA beside the weights. */
export interface Unmerged {
  /** The names in its files, by those that they stand for. */
  names: ReadonlyMap<string, string>;
  adapted: Map<string, Adapted>;
}

/**
 * Upstream's unmerged checkpoints (`wrap_llm_lora`, `wrap_backbone_lora`): peft's names inside a whole model. alpha is twice the rank.
 *
 * @throws EngineError bad-weights where configuration and names contradict each other
 */
export function unmerged({ lora }: ModelConfig, files: Checkpoint, stored: ReadonlyMap<string, StoredShape>): Unmerged {
  const names = new Map<string, string>();
  const factors = new Map<string, { a?: string; b?: string; rank: number }>();
  const wrapped = new Set<string>();
  for (const raw of stored.keys()) {
    const [, tower, inner] = WRAPPED.exec(raw) ?? [];
    const rank = tower && lora[TOWERS[tower as keyof typeof TOWERS][1]];
    if (!rank) {
      names.set(raw, raw);
      continue;
    }
    wrapped.add(tower);
    const [, module, factor] = /^(.+)\.lora_([AB])\.\w+\.weight$/.exec(inner!) ?? [];
    if (module === undefined) {
      names.set(`${tower}.${inner!.replace(/\.base_layer\.(weight|bias)$/, ".$1")}`, raw);
      continue;
    }
    const to = `${tower}.${module}.weight`;
    factors.set(to, { ...factors.get(to), [factor === "A" ? "a" : "b"]: raw, rank });
  }
  for (const [tower, [key, which]] of Object.entries(TOWERS)) {
    if (lora[which] && !wrapped.has(tower))
      throw bad(`${key} is ${lora[which]}, but no tensor has a LoRA's name`, `set ${key} to 0, if it has been merged`);
  }
  const adapted = new Map<string, Adapted>();
  for (const [name, { a, b, rank }] of factors) {
    const weight = stored.get(names.get(name) ?? "");
    const [rows = 0, inner = 0] = weight?.shape ?? [];
    for (const [factor, shape] of [
      [a, [rank, inner]],
      [b, [rows, rank]],
    ] as const) {
      const has = factor === undefined ? undefined : stored.get(factor)!.shape;
      if (has && String(has) === String(shape)) continue;
      const problem = `the LoRA of "${name}" is ${factor ? `${quote(factor)} [${has}]` : "half missing"}, needs [${shape}]`;
      throw badWeights(problem, "config.json's use_llm_lora and use_backbone_lora are the ranks");
    }
    adapted.set(name, { base: { name }, updates: [{ files, a: a!, b: b!, rank, scale: 2, row: 0, rows }] });
  }
  return { names, adapted };
}
