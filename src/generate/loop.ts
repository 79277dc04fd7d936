import { EngineError, throwIfAborted } from "../errors.ts";
import { Model } from "../model/internvl.ts";

/** Tiles ready for the vision tower. */
export interface Pixels {
  /** f32 [tiles, 3, size, size], normalised. */
  data: Float32Array<ArrayBuffer>;
  size: number;
}

export interface GenerateRequest {
  /** The whole prompt, with an `<IMG_CONTEXT>` for every visual token. */
  inputIds: readonly number[];
  pixels?: Pixels | undefined;
  imageContextId: number;
  stopIds: ReadonlySet<number>;
  /** Most new tokens. */
  maxTokens: number;
  signal?: AbortSignal | undefined;
}

/** Visual tokens in the prompt and from the tiles must agree, as upstream asserts. */
function checkVisualTokens(model: Model, { inputIds, pixels, imageContextId }: GenerateRequest): void {
  const placeholders = inputIds.reduce((count, id) => count + (id === imageContextId ? 1 : 0), 0);
  const { patchSize } = model.config.vision;
  const perTile = pixels ? (pixels.size / patchSize / 2) ** 2 : 0;
  const tiles = pixels ? pixels.data.length / (3 * pixels.size ** 2) : 0;
  if (placeholders !== tiles * perTile) {
    throw new EngineError(
      "bad-input",
      `the prompt has ${placeholders} <IMG_CONTEXT> tokens, the images give ${tiles * perTile} (${tiles} tiles)`,
      {
        hint: "put one <image> into the question for every image; <IMG_CONTEXT> cannot be typed",
      },
    );
  }
}

/** Runs vision and prefill; afterwards the first new id stands at position inputIds.length. */
export async function prefillPrompt(model: Model, request: GenerateRequest): Promise<void> {
  const { inputIds, pixels, signal } = request;
  if (inputIds.length === 0) throw new EngineError("bad-input", "the prompt is empty");
  if (inputIds.length >= model.maxContext) {
    throw new EngineError(
      "context-overflow",
      `the prompt has ${inputIds.length} tokens, the context has ${model.maxContext} with the answer`,
      {
        hint: "shorten the prompt, use fewer tiles (maxTiles), or load with a larger maxContext",
      },
    );
  }
  checkVisualTokens(model, request);
  if (pixels) await model.runVision(pixels.data, pixels.size, { signal });
  await model.prefill(Model.mergeIds(inputIds, request.imageContextId), { signal });
}

/** Greedy decoding: yields new ids, the stop id included. Ends after a stop id, `maxTokens`, or at the context's end. */
export async function* generate(model: Model, request: GenerateRequest): AsyncGenerator<number, void, void> {
  const { inputIds, stopIds, signal } = request;
  await prefillPrompt(model, request);
  const end = Math.min(model.maxContext, inputIds.length + request.maxTokens);
  for (let position = inputIds.length; position < end; position++) {
    throwIfAborted(signal);
    const id = await model.readId(position);
    yield id;
    if (stopIds.has(id) || position + 1 >= end) return;
    throwIfAborted(signal);
    model.decode(position);
  }
}
