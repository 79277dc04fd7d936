import { EngineError } from "../errors.ts";
import { described } from "../options.ts";

/** Ends a turn; the id of this token stops generation. */
export const END_OF_TURN = "<|im_end|>";

/** The system message of template internvl2_5 where config.json has no `system_message` (MODEL.md §6; the dot is U+00B7). */
export const DEFAULT_SYSTEM_MESSAGE =
  "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";

/** An earlier question, with its `<image>` placeholders as it was asked, and the answer to it. */
export type Turn = readonly [question: string, answer: string];

const SUPPORTED_TEMPLATE = "internvl2_5";
const PLACEHOLDER = "<image>";
const VISUAL_TOKEN = "<IMG_CONTEXT>";

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
 * The whole prompt, up to where the answer begins (upstream `conversation.get_prompt`, style MPT). `<image>` is left in place.
 * An empty message emits its role only, without the end of the turn, as upstream does.
 */
export function buildPrompt({
  system,
  history = [],
  question,
}: {
  system?: string | null;
  history?: readonly Turn[];
  question: string;
}): string {
  const message = (role: string, text: string) => `<|im_start|>${role}\n${text === "" ? "" : `${text}${END_OF_TURN}\n`}`;
  const turns = [...history, [question, ""] as const].map(([asked, answer]) => message("user", asked) + message("assistant", answer));
  return `<|im_start|>system\n${system ?? DEFAULT_SYSTEM_MESSAGE}${END_OF_TURN}\n${turns.join("")}`;
}

/** Puts `<image>\n` before a first question that comes with pictures and says nowhere where they belong. History stores the result. */
export function prepareQuestion(question: string, { hasPixels, history = [] }: { hasPixels: boolean; history?: readonly Turn[] }): string {
  return hasPixels && history.length === 0 && !question.includes(PLACEHOLDER) ? `${PLACEHOLDER}\n${question}` : question;
}

/** One line a frame, to put before the question: `Frame1: <image>\nFrame2: <image>\n…` */
export function videoPrefix(frames: number): string {
  return Array.from({ length: frames }, (_, i) => `Frame${i + 1}: ${PLACEHOLDER}\n`).join("");
}

/**
 * Replaces each `<image>` of the finished prompt, in order, by `<img>`, its visual tokens and `</img>`.
 *
 * Upstream leaves surplus placeholders as text and crashes on missing ones; here the counts must match.
 * @param tilesPerPlaceholder how many tiles each placeholder stands for, pictures of earlier turns included
 * @param tokensPerTile 256 for 448-pixel tiles
 * @throws EngineError `bad-input` when the counts differ, or the text itself holds `<IMG_CONTEXT>` beside pictures.
 */
export function expandImages(prompt: string, tilesPerPlaceholder: readonly number[], tokensPerTile: number): string {
  const parts = prompt.split(PLACEHOLDER);
  const [has, needs] = [parts.length - 1, tilesPerPlaceholder.length];
  if (has !== needs) {
    throw new EngineError(
      "bad-input",
      `the text has ${count(has, `${PLACEHOLDER} placeholder`)} but ${count(needs, "image")} came with it`,
      {
        hint: mismatchHint(has, needs),
      },
    );
  }
  if (needs > 0 && prompt.includes(VISUAL_TOKEN)) {
    throw new EngineError("bad-input", `the text contains ${VISUAL_TOKEN}, which stands for a piece of an image`, {
      hint: `Take ${VISUAL_TOKEN} out of the question and the history: ${PLACEHOLDER} is the placeholder for an image.`,
    });
  }
  const images = tilesPerPlaceholder.map((tiles) => {
    if (!Number.isInteger(tiles) || tiles < 1) throw new EngineError("bad-input", `an image has ${tiles} tiles, it must have at least 1`);
    return `<img>${VISUAL_TOKEN.repeat(tiles * tokensPerTile)}</img>`;
  });
  return parts.map((part, i) => part + (images[i] ?? "")).join("");
}

function mismatchHint(placeholders: number, images: number): string {
  const again = "On every turn give the images of all turns, in the order of their placeholders in the history and the question";
  if (images === 0) return `Give one image for each ${PLACEHOLDER}, or write it differently if you mean the word. ${again}.`;
  if (placeholders < images) return `Write one ${PLACEHOLDER} for each image, or nest images in a list to share one. ${again}.`;
  return `Give one image for each ${PLACEHOLDER}, or remove the placeholders that have none. ${again}.`;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
