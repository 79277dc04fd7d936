import { EngineError, late } from "../errors.ts";
import type { PromptProgress } from "../generate/request.ts";
import type { Tiles } from "../model/internvl.ts";
import { promptParts, promptText, TEMPLATES } from "../text/template.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Ask } from "./asking.ts";
import type { GenerationOptions } from "./generation.ts";
import type { PictureOptions } from "./image-options.ts";
import type { ImageLike } from "./images.ts";
import { type History, type Message, messagesOf, type Texts, userContent } from "./messages.ts";
import type { Source } from "./pictures.ts";
import { type Placed, placePictures } from "./placing.ts";
import { promptTiles, type TiledPicture, type Tiling, tilePicture } from "./tiling.ts";

/**
 * A video file: MP4, MOV, WebM or Matroska. In a page it is read with the package `mediabunny` and WebCodecs, in Node with the program `ffmpeg`.
 */
export interface VideoFile {
  /** A path (Node), a URL, a Blob, or the file's bytes. */
  src: string | URL | Blob | ArrayBuffer | Uint8Array;
  /** How many frames are taken, evenly spaced as the model card's `load_video` has it; 8 by default. */
  frames?: number | undefined;
  /** From which second to which; by default all of it. */
  bound?: readonly [start: number, end: number] | undefined;
}

/** A video file, or frames that were taken of one, in their order. */
export type VideoLike = VideoFile | readonly ImageLike[];

/** What is asked, beside the question itself. */
export interface PromptOptions extends PictureOptions {
  /**
   * One entry an `<image>` of the question; without any `<image>` they are put in front. A nested list is the combined form: one `<image>`
   * takes the tiles of all.
   */
  images?: readonly (Source | readonly Source[])[] | undefined;
  /** A video, one tile a frame; `FrameN: <image>` lines are put before the question. */
  video?: VideoLike | undefined;
  /** What was said before: `reply.history`, messages, or the model card's list of [question, answer]. */
  history?: History | undefined;
  /** Replaces the model's system message. */
  system?: string | undefined;
  /**
   * What `<|im_start|>`, `<|im_end|>`, `<|endoftext|>`, `<img>`, `</img>` and `<IMG_CONTEXT>` are where somebody typed them: `text`, the
   * default, so that nobody can forge turns or pictures; or `parse`, tokens, as upstream has it.
   */
  specialTokens?: "text" | "parse" | undefined;
  signal?: AbortSignal | undefined;
  /** Called as the prompt gets on: tiles that are encoded, then tokens that are prefilled. What it throws ends the answer, as it is. */
  onProgress?: ((progress: PromptProgress) => void) | undefined;
}

/** What `chat` takes: pictures and what was said before, and how the answer is generated. */
export interface ChatOptions extends PromptOptions, GenerationOptions {}

/** A question as the model takes it: ids, with the tiles that its visual tokens stand for. */
export interface PreparedPrompt {
  inputIds: number[];
  /** The tiles of all pictures, in the order of their visual tokens. */
  tiles: Tiles | undefined;
  /** The conversation up to the question. */
  messages: Message[];
}

/** What preparing needs of a model. */
export interface Preparing extends Omit<Tiling, "settings"> {
  tokenizer: Tokenizer;
  /** Tokens that prompt and answer have room for. */
  context: number;
}

/** Long texts are measured before they are tokenised: that costs a minute where it would be for nothing. */
export async function checkLength(
  texts: readonly string[],
  { tokenizer, context }: Pick<Preparing, "tokenizer" | "context">,
): Promise<void> {
  const length = texts.reduce((sum, text) => sum + text.length, 0);
  if (length <= 4 * context) return;
  let least = 0;
  for (const text of texts) least += await tokenizer.atLeast(text);
  if (least < context) return;
  const problem = `the prompt's texts have at least ${least} tokens, the context has ${context} with the answer`;
  throw new EngineError("context-overflow", problem, { hint: "shorten the prompt, or load with a larger maxContext" });
}

/** Decodes and tiles the pictures, builds the prompt and tokenises it: everything before the GPU (MODEL.md §1 and §6). */
export async function preparePrompt(ask: Ask, preparing: Preparing): Promise<PreparedPrompt> {
  const { config, tokenizer } = preparing;
  const template = TEMPLATES[config.template];
  // transformers' template writes a message's parts one behind the other, with nothing between.
  const joined = (text: string, texts: Texts) => (template.inPlace && texts ? texts.join("") : text);
  const system = ask.system === undefined ? config.systemMessage : joined(ask.system, ask.systemTexts);
  const placed = placePictures(ask, template);
  const answers = ask.turns.map(({ answer, answerTexts }) => joined(answer, answerTexts));
  await checkLength([system ?? "", ...placed.turns.map(({ text }) => text), ...answers, placed.question.text], preparing);

  const { clip, settings, frames } = ask;
  const shown =
    clip && (await (await late("what reads videos", import("./clip.ts"))).clipFrames(clip, settings, config.tileSize, preparing.signal));
  const tiled = async ({ pictures }: Placed): Promise<TiledPicture[]> => {
    const done: TiledPicture[] = [];
    for (const picture of pictures) {
      const frame = frames.indexOf(picture);
      const source = (frame >= 0 && shown?.[frame]) || undefined;
      const own = frame >= 0 ? { ...settings, maxTiles: 1 } : settings;
      done.push(await tilePicture(source ? { ...picture, sources: [source] } : picture, { ...preparing, settings: own }));
    }
    return done;
  };
  const turns: { placed: Placed; pictures: TiledPicture[]; answer: string }[] = [];
  for (const [i, turn] of placed.turns.entries()) turns.push({ placed: turn, pictures: await tiled(turn), answer: answers[i]! });
  const pictures = await tiled(placed.question);

  const said = ({ text }: Placed, own: readonly TiledPicture[]) =>
    userContent(
      text,
      own.map(({ held }) => held),
    );
  const asked = ({ text }: Placed, own: readonly TiledPicture[]) => ({ text, tiles: own.map(({ count }) => count) });
  const history = turns.map((turn) => [asked(turn.placed, turn.pictures), turn.answer] as const);
  const parts = promptParts({ system, history, question: asked(placed.question, pictures) }, config.tokensPerTile, template);
  return {
    inputIds: ask.specialTokens === "parse" ? tokenizer.encode(promptText(parts)) : tokenizer.encodeParts(parts),
    tiles: promptTiles(
      [...turns.flatMap((turn) => turn.pictures), ...pictures].flatMap((picture) => picture.parts),
      config.tileSize,
    ),
    messages: [
      ...messagesOf(ask, (i) => said(turns[i]!.placed, turns[i]!.pictures)),
      { role: "user", content: said(placed.question, pictures) },
    ],
  };
}
