import { badWeights, type EngineError } from "../errors.ts";
import { type Checkpoint, quote } from "../safetensors/index.ts";
import { PLAIN } from "../weights/formats.ts";
import type { Adapted, LoraUpdate } from "../weights/lora.ts";
import type { StoredShape } from "../weights/tensor-source.ts";
import { type Place, placesOf } from "./adapter-names.ts";
import { type LoraConfig, MERGE } from "./lora-config.ts";

/** A LoRA adapter whose configuration and headers have been read. */
export interface Adapter {
  config: LoraConfig;
  files: Checkpoint;
}

const OTHER_BASE = "an adapter goes with the model that it was trained on, whole: give that one";

const bad = (problem: string, hint = OTHER_BASE): EngineError => badWeights(`the adapter's ${problem}`, hint);

/** `base_model.model.MODULE.lora_A.weight`; what peft has not written itself has the adapter's name before `.weight`. */
const FACTOR = /^base_model\.model\.(.+)\.lora_([AB])(?:\.\w+)?\.weight$/;
/** A tensor of a module that was trained whole. */
const WHOLE = /^base_model\.model\.(.+?)(?:\.modules_to_save(?:\.\w+)?|\.base_layer)?\.(weight|bias)$/;

type Shapes = ReadonlyMap<string, StoredShape>;

/** Where a module's tensor lies, if the model has it. */
const placeOf = (module: string, part: string, shapes: Shapes): Place | undefined =>
  placesOf(module).find((place) => shapes.has(`${place.module}.${part}`));

/** What the factors of one module add to which tensor. @throws EngineError bad-weights */
function updateOf(
  module: string,
  { a, b }: { a?: string; b?: string },
  { config, files }: Adapter,
  shapes: Shapes,
): LoraUpdate & { to: string } {
  if (a === undefined || b === undefined) throw bad(`tensor ${quote((a ?? b)!)} has no lora_${a ? "B" : "A"} beside it`);
  if (!config.hasLayer(module)) {
    throw bad(
      `tensor ${quote(a)} is of a layer that layers_to_transform and layers_pattern leave out`,
      "peft would leave it aside: take it out of the file, or name its layer in adapter_config.json",
    );
  }
  const place = placeOf(module, "weight", shapes);
  const to = `${place?.module}.weight`;
  const weight = shapes.get(to);
  const third = place?.third;
  if (!weight) throw bad(`tensor ${quote(a)} is for ${quote(module)}, which the model has not`);
  if (weight.shape.length !== 2) throw bad(`tensor ${quote(a)} is for "${to}" [${weight.shape}]: only LoRA of matrices loads`, MERGE);
  const { rank, scale } = config.of(module);
  const [all = 0, inner = 0] = weight.shape;
  const rows = third === undefined ? all : all / 3;
  const needs = { [a]: [rank, inner], [b]: [rows, rank] };
  for (const [name, shape] of Object.entries(needs)) {
    const has = files.tensors.get(name)!.info;
    if (String(has.shape) === String(shape)) continue;
    const why = `"${to}" is [${weight.shape}], the rank by adapter_config.json ${rank}`;
    throw bad(`tensor ${quote(name)} has shape [${has.shape}], needs [${shape}]: ${why}`);
  }
  return { to, files, a, b, rank, scale, row: (third ?? 0) * rows, rows };
}

/** Adds what an adapter changes. @throws EngineError bad-weights naming the first tensor that matches nothing */
function adapt(adapter: Adapter, shapes: Shapes, adapted: Map<string, Adapted>): void {
  const { files, config } = adapter;
  const factors = new Map<string, { a?: string; b?: string }>();
  const saved: string[] = [];
  const of = (name: string): Adapted => {
    const change = adapted.get(name) ?? { base: { name }, updates: [] };
    adapted.set(name, change);
    return change;
  };
  for (const [name, { info }] of files.tensors) {
    if (!PLAIN[info.dtype]) throw bad(`tensor ${quote(name)} has dtype ${info.dtype}, supported: ${Object.keys(PLAIN).join(", ")}`);
    const [, module, factor] = FACTOR.exec(name) ?? [];
    if (module !== undefined) {
      factors.set(module, { ...factors.get(module), [factor === "A" ? "a" : "b"]: name });
      continue;
    }
    if (/\.lora_/.test(name)) throw bad(`tensor ${quote(name)} is of a kind of LoRA that does not load`, MERGE);
    const [, whole, part] = WHOLE.exec(name) ?? [];
    const place = whole === undefined ? undefined : placeOf(whole, part!, shapes);
    const to = `${place?.module}.${part}`;
    const has = shapes.get(to);
    if (!has || place?.third !== undefined) throw bad(`tensor ${quote(name)} matches nothing in the model`);
    if (String(has.shape) !== String(info.shape)) throw bad(`tensor ${quote(name)} has shape [${info.shape}], needs [${has.shape}]`);
    const change = of(to);
    if (change.base.files) throw bad(`tensor ${quote(name)} replaces what another adapter replaces`, "give one of the two");
    change.base = { files, name };
    saved.push(whole!);
  }
  const missing = config.modulesToSave.find((each) => !saved.some((module) => `.${module}.`.includes(`.${each}.`)));
  if (missing !== undefined) throw bad(`modules_to_save names ${quote(missing)}, of which its file has no tensor`);
  if (factors.size + saved.length === 0) throw bad("file holds no tensors");
  for (const [module, pair] of factors) {
    const { to, ...update } = updateOf(module, pair, adapter, shapes);
    of(to).updates.push(update);
  }
}

/**
 * What adapters change of a checkpoint; several add up.
 *
 * @param shapes the checkpoint's tensors; without a head of its own, one that is the embedding is to be among them
 * @throws EngineError bad-weights naming what does not fit
 */
export function adaptedTensors(adapters: readonly Adapter[], shapes: Shapes): Map<string, Adapted> {
  const adapted = new Map<string, Adapted>();
  for (const adapter of adapters) adapt(adapter, shapes, adapted);
  return adapted;
}
