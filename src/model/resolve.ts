import { badWeights } from "../errors.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import { type AwqLinear, awqLinears, awqTensors, unpackedShapes } from "../weights/awq.ts";
import { type Adapted, mergedTensors } from "../weights/lora.ts";
import { fileTensors, renamedTensors, type StoredShape } from "../weights/tensor-source.ts";
import { type Adapter, adaptedTensors } from "./adapters.ts";
import type { ModelConfig } from "./config.ts";
import { bad } from "./config-fields.ts";
import { type Resolved, storedShapes } from "./stored.ts";
import { isHead, matrixTensors, tiedTensors } from "./tensors.ts";
import { unmerged } from "./unmerged.ts";

/** The Linears that are packed. @throws EngineError bad-weights where configuration and tensors contradict each other */
function packedLinears({ packed }: ModelConfig, stored: ReadonlyMap<string, StoredShape>): Map<string, AwqLinear> {
  if (!packed) return new Map();
  const linears = awqLinears(stored);
  if (linears.size === 0) throw bad(`quantization_config names "awq", but no tensor is packed`, "remove it, if the weights are not packed");
  for (const { name } of linears.values()) {
    const kept = packed.notConverted.find((part) => `.${name}.`.includes(`.${part}.`));
    if (kept !== undefined) throw bad(`modules_to_not_convert has ${JSON.stringify(kept)}, but "${name}.qweight" is packed`);
  }
  return linears;
}

/** What adapters change; the head that is the embedding becomes one of its own where they change one of the two. */
function changes(config: ModelConfig, adapters: readonly Adapter[], shapes: Map<string, StoredShape>): Map<string, Adapted> {
  if (config.converted && adapters.length > 0) {
    const hint = "give the original checkpoint: they are merged before it is quantised";
    throw badWeights(`adapters cannot be merged into a checkpoint that was converted to ${config.converted.format}`, hint);
  }
  const { embed, head } = tiedTensors(config, (name) => shapes.has(name));
  const tied = ![...shapes.keys()].some(isHead) && shapes.has(embed);
  const adapted = adaptedTensors(adapters, tied ? new Map(shapes).set(head, shapes.get(embed)!) : shapes);
  if (!tied) return adapted;
  const own = adapted.get(head);
  if (own && !own.base.files) own.base = { name: embed };
  else if (!own && adapted.has(embed)) adapted.set(head, { base: { name: embed }, updates: [] });
  if (adapted.has(head)) shapes.set(head, shapes.get(embed)!);
  return adapted;
}

/**
 * @param adapters merged into the weights while they are read
 * @throws EngineError bad-weights where files, configuration and adapters contradict each other
 */
export function resolve(config: ModelConfig, files: Checkpoint, adapters: readonly Adapter[] = []): Resolved {
  const stored = storedShapes(files);
  const { names, adapted: own } = unmerged(config, files, stored);
  const unwrapped = new Map([...names].map(([name, raw]) => [name, stored.get(raw)!]));
  const linears = packedLinears(config, unwrapped);
  const shapes = unpackedShapes(unwrapped, linears);
  const adapted = changes(config, adapters, shapes);
  for (const [name, { updates }] of own) {
    const other = adapted.get(name);
    if (!other) adapted.set(name, { base: { name }, updates });
    else if (!other.base.files) other.updates.push(...updates);
  }
  const beside = new Map(matrixTensors(config, (name) => shapes.has(name)).flatMap((names) => names.map((name) => [name, names])));
  return {
    shapes,
    tensors(gpu, format) {
      let source = fileTensors(gpu, files);
      if ([...names].some(([name, raw]) => name !== raw)) source = renamedTensors(source, names);
      const asCodes = format === "auto" || format === "q8";
      if (linears.size > 0) {
        source = awqTensors(gpu, source, (name) => {
          // What is one matrix with something that is not packed is held as exactly as that.
          if (!asCodes || !(beside.get(name) ?? [name]).every((other) => linears.has(other))) return "f32";
          return adapted.has(name) ? "f32 for q8" : "codes";
        });
      }
      return adapted.size > 0 ? mergedTensors(gpu, source, adapted) : source;
    },
  };
}
