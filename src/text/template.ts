import { EngineError } from "../errors.ts";
import { described } from "../options.ts";

/** Ends a turn; the id of this token stops generation. */
export const END_OF_TURN = "<|im_end|>";

/** The system message of template internvl2_5 where config.json has no `system_message` (MODEL.md §6; the dot is U+00B7). */
export const DEFAULT_SYSTEM_MESSAGE =
  "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";

/** Stands in a user's text where a picture belongs. */
export const PLACEHOLDER = "<image>";

const START_OF_TURN = "<|im_start|>";
const IMAGE_START = "<img>";
const IMAGE_END = "</img>";
const VISUAL_TOKEN = "<IMG_CONTEXT>";

/** The tokens that make a prompt's structure. Whoever may type them into a text could forge turns and pictures. */
export const STRUCTURAL_TOKENS: readonly string[] = [START_OF_TURN, END_OF_TURN, "<|endoftext|>", IMAGE_START, IMAGE_END, VISUAL_TOKEN];

/** A piece of a prompt: a structural token that the template puts there, once or `times`, or text. */
export type PromptPart = string | { readonly token: string; readonly times?: number };

/** A user's text, with `<image>` where its pictures belong; more of them are text. `tiles` says how many tiles each picture has, in their order. */
export interface Asked {
  text: string;
  tiles: readonly number[];
}

const SUPPORTED_TEMPLATE = "internvl2_5";

/** @throws EngineError `bad-weights` when config.json names a template other than internvl2_5. */
export function checkTemplate(name: unknown): void {
  if (name === SUPPORTED_TEMPLATE) return;
  throw new EngineError(
    "bad-weights",
    `config.json names the prompt template ${described(name)}, only "${SUPPORTED_TEMPLATE}" is supported`,
    {
      hint: "Use a checkpoint of InternVL 2.5 or 3; those of InternVL 1.x and 2 were trained with other templates.",
    },
  );
}

/**
 * The whole prompt, up to where the answer begins (upstream `conversation.get_prompt`, style MPT). Every `<image>` of a question becomes
 * `<img>`, the picture's visual tokens and `</img>`; in the system message and in answers `<image>` is text. An empty message emits its
 * role only, without the end of the turn, as upstream does.
 *
 * @param tokensPerTile 256 for 448-pixel tiles
 * @throws EngineError `bad-input` where a text has fewer `<image>` than pictures
 */
export function promptParts(
  { system, history = [], question }: { system?: string | undefined; history?: readonly (readonly [Asked, string])[]; question: Asked },
  tokensPerTile: number,
): PromptPart[] {
  const message = (role: string, content: readonly PromptPart[]): PromptPart[] => [
    { token: START_OF_TURN },
    `${role}\n`,
    ...(content.some((part) => part !== "") ? [...content, { token: END_OF_TURN }, "\n"] : []),
  ];
  const turns = [...history, [question, ""] as const];
  return [
    { token: START_OF_TURN },
    `system\n${system ?? DEFAULT_SYSTEM_MESSAGE}`,
    { token: END_OF_TURN },
    "\n",
    ...turns.flatMap(([asked, answer]) => [...message("user", withPictures(asked, tokensPerTile)), ...message("assistant", [answer])]),
  ];
}

function withPictures({ text, tiles }: Asked, tokensPerTile: number): PromptPart[] {
  const texts = text.split(PLACEHOLDER);
  if (texts.length <= tiles.length) {
    const has = `${texts.length - 1} ${PLACEHOLDER} placeholder(s)`;
    throw new EngineError("bad-input", `a question has ${has} and ${tiles.length} picture(s)`);
  }
  texts.push(texts.splice(tiles.length).join(PLACEHOLDER));
  return texts.flatMap((part, i): PromptPart[] => {
    const count = tiles[i];
    if (count === undefined) return [part];
    return [part, { token: IMAGE_START }, { token: VISUAL_TOKEN, times: count * tokensPerTile }, { token: IMAGE_END }];
  });
}

/** A prompt as one text, as upstream has it: what the template put there and what somebody typed can no longer be told apart. */
export function promptText(parts: readonly PromptPart[]): string {
  return parts.map((part) => (typeof part === "string" ? part : part.token.repeat(part.times ?? 1))).join("");
}

/** How many `<image>` placeholders a text has. */
export const placeholders = (text: string): number => text.split(PLACEHOLDER).length - 1;

/** The lines to put before a text that brings pictures and does not say where they belong: numbered where there are several. */
export function imagePrefix(images: number): string {
  if (images === 1) return `${PLACEHOLDER}\n`;
  return Array.from({ length: images }, (_, i) => `Image-${i + 1}: ${PLACEHOLDER}\n`).join("");
}

/** One line a frame, to put before the question: `Frame1: <image>\nFrame2: <image>\n…` */
export function videoPrefix(frames: number): string {
  return Array.from({ length: frames }, (_, i) => `Frame${i + 1}: ${PLACEHOLDER}\n`).join("");
}
