import { EngineError, throwIfAborted } from "../errors.ts";
import type { Model, Tiles } from "../model/internvl.ts";
import { GREEDY, type Sampling } from "../ops/sample.ts";
import { commonPrefix, type Held, NOTHING, visualTokens } from "./prefix.ts";
import type { Stepper } from "./stepper.ts";

export interface GenerateRequest {
  /** The whole prompt, with an `<IMG_CONTEXT>` for every visual token. */
  inputIds: readonly number[];
  images?: PromptTiles | undefined;
  imageContextId: number;
  sampling?: Sampling | undefined;
  signal?: AbortSignal | undefined;
}

/** Tiles that know their content. */
export interface PromptTiles extends Tiles {
  /** Equal for equal content: what is in the cache is not computed again. */
  keys: readonly string[];
}

/** Visual tokens in the prompt and from the tiles must agree, as upstream asserts. */
function checkVisualTokens({ inputIds, images, imageContextId }: GenerateRequest, perTile: number): void {
  const placeholders = visualTokens(inputIds, imageContextId);
  const tiles = images?.count ?? 0;
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

/** What a prompt has cost. */
export interface PrefillUsage {
  /** Tokens whose keys and values were computed. */
  prefilledTokens: number;
  /** Tokens that were in the cache. */
  cachedTokens: number;
}

/**
 * Computes what of a prompt is not in the row's cache: vision for tiles that are not, keys and values for tokens that are not. Afterwards
 * `stepper.begin` can follow with the result's `units`.
 *
 * @throws EngineError bad-input, context-overflow, aborted, device-lost
 */
export async function prefillPrompt(
  model: Model,
  stepper: Stepper,
  row: number,
  request: GenerateRequest,
): Promise<PrefillUsage & { units: number }> {
  const { inputIds, images, imageContextId, signal } = request;
  const { lanes } = stepper;
  if (inputIds.length === 0) throw new EngineError("bad-input", "the prompt is empty");
  if (inputIds.length >= lanes.context) {
    throw new EngineError(
      "context-overflow",
      `the prompt has ${inputIds.length} tokens, the context has ${lanes.context} with the answer`,
      {
        hint: "shorten the prompt, use fewer tiles (maxTiles), or load with a larger maxContext",
      },
    );
  }
  const perTile = images ? (images.size / model.config.vision.patchSize / 2) ** 2 : model.config.tokensPerTile;
  checkVisualTokens(request, perTile);
  const prompt: Held = { ids: inputIds, tiles: images?.keys ?? [] };
  const start = commonPrefix(stepper.held[row]!, prompt, imageContextId, perTile);
  const first = Math.floor(visualTokens(inputIds, imageContextId, start) / perTile); // a tile that is there in part runs again
  stepper.held[row] = { ids: inputIds.slice(0, start), tiles: prompt.tiles };
  if (images && first < images.count) await model.runVision(images, { first, signal });
  const units = await lanes.prefill(row, model.mergeIds(inputIds, imageContextId), start, {
    signal,
    after: (at, count) => {
      stepper.held[row] = { ids: inputIds.slice(0, at + count), tiles: prompt.tiles };
    },
  });
  const sampling = request.sampling ?? GREEDY;
  await lanes.prepareSampling(row, sampling);
  await stepper.room();
  throwIfAborted(signal);
  lanes.setSampling(row, sampling);
  return { prefilledTokens: inputIds.length - start, cachedTokens: start, units };
}

/** Adds to what a row's cache holds: an answer's ids, without the last one, which no step has taken in. */
export function holdAnswer(stepper: Stepper, row: number, ids: readonly number[]): void {
  const { ids: prompt, tiles } = stepper.held[row]!;
  stepper.held[row] = { ids: [...prompt, ...ids.slice(0, -1)], tiles };
}

/** Forgets what a row's cache holds. */
export function forget(stepper: Stepper, row: number): void {
  stepper.held[row] = NOTHING;
}

/**
 * Generates in row 0 until `accept` says that the answer ends, or with `maxTokens`, or at the context's end. `accept` gets every new id, the
 * stop id included.
 */
export async function generate(
  model: Model,
  stepper: Stepper,
  request: GenerateRequest & { maxTokens: number },
  accept: (id: number) => boolean,
): Promise<PrefillUsage> {
  const { inputIds, maxTokens, signal } = request;
  const { units, ...usage } = await prefillPrompt(model, stepper, 0, request);
  const ids: number[] = [];
  const end = Math.min(stepper.lanes.context, inputIds.length + maxTokens);
  const task = {
    position: inputIds.length,
    end,
    finished: false,
    accept(id: number) {
      ids.push(id);
      return accept(id) || inputIds.length + ids.length >= end;
    },
  };
  stepper.begin(0, task, units);
  try {
    while (!task.finished) {
      throwIfAborted(signal);
      stepper.fill();
      await stepper.collect();
    }
  } finally {
    stepper.end(0);
    holdAnswer(stepper, 0, ids);
  }
  return usage;
}
