import type { Scheduler } from "../generate/scheduler.ts";
import type { Gpu } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import type { Model } from "../model/internvl.ts";
import type { MatrixDtype } from "../tensor/tensor.ts";
import type { OpenGrammars } from "../text/grammar/client.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { TileCache } from "./tile-cache.ts";

/** What an InternVL is made of; `testing.ts` reaches it through `partsOf`. */
export interface Parts {
  /** The first device: of the vision tower, the embedding and the head. */
  gpu: Gpu;
  /** Every device. */
  gpus: readonly Gpu[];
  model: Model;
  tokenizer: Tokenizer;
  config: ModelConfig;
  /** How the matrices lie on the GPU. */
  weights: MatrixDtype;
  imageContextId: number;
  /** Ids that end an answer. */
  stopIds: ReadonlySet<number>;
  /** Tiles of pictures that were looked at. */
  pictures: TileCache;
  /** Every request to the model goes through it. */
  scheduler: Scheduler;
  /** What holds answers to a schema; opened for the first one that has one. */
  grammars?: Promise<OpenGrammars> | undefined;
}
