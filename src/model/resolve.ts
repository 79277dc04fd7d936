import type { Gpu } from "../gpu/device.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import { awqLinears, awqTensors, unpackedShapes } from "../weights/awq.ts";
import type { WeightFormat } from "../weights/formats.ts";
import { fileTensors, type StoredShape, type TensorSource } from "../weights/tensor-source.ts";
import type { ModelConfig } from "./config.ts";
import { bad } from "./config-fields.ts";
import { matrixTensors } from "./tensors.ts";

/** A checkpoint's tensors as the model asks for them, whatever they are made of in the files. */
export interface Resolved {
  /** By their names. What the model would not take is among them as it is stored. */
  shapes: ReadonlyMap<string, StoredShape>;
  /** The tensors themselves, for matrices that are to be held in a format. */
  tensors(gpu: Gpu, format: WeightFormat): TensorSource;
}

/** The tensors of an open checkpoint, by the names and shapes in its files. */
export const storedShapes = ({ tensors }: Pick<Checkpoint, "tensors">): Map<string, StoredShape> =>
  new Map([...tensors].map(([name, { info }]) => [name, info]));

const asStored = (files: Checkpoint): Resolved => ({ shapes: storedShapes(files), tensors: (gpu) => fileTensors(gpu, files) });

/** The tensors that a packed checkpoint stands for. @throws EngineError bad-weights */
function resolvePacked(config: ModelConfig, files: Checkpoint): Resolved {
  const stored = storedShapes(files);
  const linears = awqLinears(stored);
  const { notConverted } = config.packed!;
  if (linears.size === 0) throw bad(`quantization_config names "awq", but no tensor is packed`, "remove it, if the weights are not packed");
  for (const { name } of linears.values()) {
    const kept = notConverted.find((part) => `.${name}.`.includes(`.${part}.`));
    if (kept !== undefined) throw bad(`modules_to_not_convert has ${JSON.stringify(kept)}, but "${name}.qweight" is packed`);
  }
  const shapes = unpackedShapes(stored, linears);
  const beside = new Map(matrixTensors(config, (name) => shapes.has(name)).flatMap((names) => names.map((name) => [name, names])));
  return {
    shapes,
    tensors(gpu, format) {
      const asCodes = format === "auto" || format === "q8";
      // What is one matrix with something that is not packed is held as exactly as that.
      return awqTensors(gpu, fileTensors(gpu, files), (name) => {
        const alike = (beside.get(name) ?? [name]).every((other) => linears.has(other));
        return asCodes && alike ? "codes" : "f32";
      });
    },
  };
}

/** @throws EngineError bad-weights where files and configuration contradict each other */
export function resolve(config: ModelConfig, files: Checkpoint): Resolved {
  if (config.packed) return resolvePacked(config, files);
  return asStored(files);
}

/** The same for whoever looks at files as they are: what contradicts itself stays as it is stored. */
export function unchecked(config: ModelConfig, files: Checkpoint): Resolved {
  try {
    return resolve(config, files);
  } catch {
    return asStored(files);
  }
}
