import { EngineError } from "../errors.ts";
import type { PromptTiles } from "../generate/loop.ts";
import type { RgbImage } from "../media/image.ts";
import { normalizeTiles } from "../media/normalize.ts";
import { tileImage } from "../media/tiles.ts";
import type { ModelConfig } from "../model/config.ts";
import { buildPrompt, expandImages, prepareQuestion, videoPrefix } from "../text/template.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type ImageDecoder, type ImageLike, toRgb } from "./images.ts";

/** The tiles that belong to one `<image>`. */
export interface TiledImage {
  count: number;
  tiles: Uint8Array; // [count, size, size, 3]
}

/** One question and its answer; `images` are those of its `<image>` markers. */
export interface HistoryTurn {
  question: string;
  answer: string;
  images?: readonly TiledImage[];
}

/** What was said before: as `reply.history` gives it, or as the model card's list of [question, answer]. */
export type History = readonly (HistoryTurn | readonly [question: string, answer: string])[];

/** A list of frames, or a list with how many of them to take (evenly spaced, as the model card's load_video). */
export type VideoLike = readonly ImageLike[];

export interface PromptRequest {
  question: string;
  /** One entry an `<image>`; a nested list is the combined form: one `<image>` takes the tiles of all. */
  images?: readonly (ImageLike | readonly ImageLike[])[] | undefined;
  /** Frames, one tile each; `FrameN: <image>` lines are put before the question. */
  video?: VideoLike | undefined;
  history?: History | undefined;
  system?: string | undefined;
  maxTiles?: number | undefined;
  /** Who decodes JPEG files; `js` by default, see `ImageDecoder`. */
  decoder?: ImageDecoder | undefined;
  signal?: AbortSignal | undefined;
}

export interface PreparedPrompt {
  /** The question as it goes into the history. */
  question: string;
  prompt: string;
  inputIds: number[];
  turns: HistoryTurn[];
  images: TiledImage[];
  /** The tiles of all images, the history's first. */
  tiles: PromptTiles | undefined;
}

async function tiled(
  images: readonly ImageLike[],
  label: string,
  config: ModelConfig,
  maxTiles: number,
  options: Pick<PromptRequest, "decoder" | "signal">,
): Promise<TiledImage> {
  const parts: TiledImage[] = [];
  for (const [i, image] of images.entries()) {
    const name = images.length > 1 ? `${label}.${i + 1}` : label;
    const rgb: RgbImage = await toRgb(image, { name, decoder: options.decoder, signal: options.signal });
    parts.push(
      tileImage(rgb, { maxTiles, minTiles: Math.min(config.minTiles, maxTiles), tileSize: config.tileSize, thumbnail: config.thumbnail }),
    );
  }
  return joined(parts);
}

function joined(parts: readonly TiledImage[]): TiledImage {
  if (parts.length === 1) return parts[0]!;
  const tiles = new Uint8Array(parts.reduce((sum, part) => sum + part.tiles.length, 0));
  let at = 0;
  for (const part of parts) {
    tiles.set(part.tiles, at);
    at += part.tiles.length;
  }
  return { count: parts.reduce((sum, part) => sum + part.count, 0), tiles };
}

const asTurn = (turn: History[number]): HistoryTurn => ("question" in turn ? turn : { question: turn[0], answer: turn[1] });

/** Decodes and tiles the pictures, builds the prompt and tokenises it: everything before the GPU (MODEL.md §1 and §6). */
export async function preparePrompt(request: PromptRequest, config: ModelConfig, tokenizer: Tokenizer): Promise<PreparedPrompt> {
  const maxTiles = request.maxTiles ?? (config.dynamicTiles ? config.maxTiles : 1);
  if (!Number.isInteger(maxTiles) || maxTiles < 1 || maxTiles > 40)
    throw new EngineError("bad-input", `maxTiles is ${maxTiles}, needs an integer from 1 to 40`);
  const turns = (request.history ?? []).map(asTurn);
  const images: TiledImage[] = [];
  for (const [i, entry] of (request.images ?? []).entries()) {
    const list = Array.isArray(entry) ? (entry as readonly ImageLike[]) : [entry as ImageLike];
    if (list.length === 0)
      throw new EngineError("bad-input", `image ${i + 1} is an empty list`, { hint: "give at least one image in a combined entry" });
    images.push(await tiled(list, `image ${i + 1}`, config, maxTiles, request));
  }
  let question = request.question;
  if (request.video) {
    if (request.video.length === 0) throw new EngineError("bad-input", "the video has no frames");
    for (const [i, frame] of request.video.entries()) images.push(await tiled([frame], `frame ${i + 1}`, config, 1, request));
    question = videoPrefix(request.video.length) + question;
  }
  const pairs = turns.map((turn) => [turn.question, turn.answer] as const);
  question = prepareQuestion(question, { hasPixels: images.length > 0, history: pairs });
  const system = request.system ?? config.systemMessage;
  const joinedPrompt = buildPrompt({ ...(system === undefined ? {} : { system }), history: pairs, question });
  // In the order of their markers: the history's images, then this question's.
  const all = [...turns.flatMap((turn) => turn.images ?? []), ...images];
  const counts = all.map((image) => image.count);
  const prompt = expandImages(joinedPrompt, counts, config.tokensPerTile);
  const whole = all.length ? joined(all) : undefined;
  return {
    question,
    prompt,
    inputIds: tokenizer.encode(prompt),
    turns,
    images,
    tiles: whole && (await promptTiles(whole, config.tileSize)),
  };
}

/** Tiles with the hashes of their content; they are normalised only when vision asks for them. */
async function promptTiles({ count, tiles }: TiledImage, size: number): Promise<PromptTiles> {
  const bytes = 3 * size * size;
  const keys: string[] = [];
  for (let i = 0; i < count; i++) {
    const digest = await crypto.subtle.digest("SHA-256", tiles.slice(i * bytes, (i + 1) * bytes));
    keys.push(new Uint32Array(digest).join("."));
  }
  return {
    count,
    size,
    keys,
    pixels: (first, some) => normalizeTiles(tiles.subarray(first * bytes, (first + some) * bytes), some, size) as Float32Array<ArrayBuffer>,
  };
}
