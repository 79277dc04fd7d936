import type { Gpu } from "../gpu/device.ts";
import type { Checkpoint } from "../safetensors/index.ts";
import type { WeightFormat } from "../weights/formats.ts";
import { fileTensors, type StoredShape, type TensorSource } from "../weights/tensor-source.ts";
import type { Adapter } from "./adapters.ts";
import type { ModelConfig } from "./config.ts";

/** A checkpoint's tensors as the model asks for them, whatever they are made of in the files. */
export interface Resolved {
  /** By their names. What the model would not take is among them as it is stored. */
  shapes: ReadonlyMap<string, StoredShape>;
  /** The tensors themselves, for matrices that are to be held in a format. */
  tensors(gpu: Gpu, format: WeightFormat): TensorSource;
}

/** Makes the model's tensors of those that a checkpoint and its adapters hold. */
export type Resolve = (config: ModelConfig, files: Checkpoint, adapters?: readonly Adapter[]) => Resolved;

/** The tensors of an open checkpoint, by the names and shapes in its files. */
export const storedShapes = ({ tensors }: Pick<Checkpoint, "tensors">): Map<string, StoredShape> =>
  new Map([...tensors].map(([name, { info }]) => [name, info]));

/** Where the files hold the model's tensors as they are: neither packed nor to be merged. */
export const asStored: Resolve = (_, files) => ({ shapes: storedShapes(files), tensors: (gpu) => fileTensors(gpu, files) });
