import type { Tiles } from "../model/internvl.ts";
import type { Sampling } from "../ops/sample-state.ts";
import type { Constraint } from "./constraint.ts";

/** How far a prompt is: of `vision` the tiles that are encoded, of `prefill` the tokens whose keys and values are computed. */
export interface PromptProgress {
  phase: "vision" | "prefill";
  loaded: number;
  total: number;
}

/** A prompt, and how it is answered. */
export interface GenerateRequest {
  /** The whole prompt, with an `<IMG_CONTEXT>` for every visual token. */
  inputIds: readonly number[];
  images?: Tiles | undefined;
  imageContextId: number;
  sampling?: Sampling | undefined;
  /** Most new ids. */
  maxTokens: number;
  /** Most ids of prompt and answer; as many as a slot has positions by default. */
  maxContext?: number | undefined;
  /** What the answer may be; all by default. */
  constraint?: Constraint | undefined;
  /** Whether `accept` also gets how probable each id was. */
  tell?: boolean | undefined;
  /** Called for each part of the prompt that is done. What a cache holds does not count: if it holds all tiles, there is no `vision`. */
  onProgress?: ((progress: PromptProgress) => void) | undefined;
}

/** What a request has cost. */
export interface Usage {
  /** Tokens whose keys and values were computed. */
  prefilledTokens: number;
  /** Tokens that were in the slot's cache. */
  cachedTokens: number;
  /** When its turn came, by `performance.now()`: before that it waited for a slot, or for another prompt's prefill. */
  began: number;
}
