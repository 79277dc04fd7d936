import { badWeights, EngineError } from "../errors.ts";
import { described } from "../options.ts";

/** Ends a turn; the id of this token stops generation. */
export const END_OF_TURN = "<|im_end|>";

/** The system message of template internvl2_5 where config.json has no `system_message` (MODEL.md §6; the dot is U+00B7). */
export const DEFAULT_SYSTEM_MESSAGE =
  "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。";

/** That of InternVL 1.5 and 2 (templates Hermes-2 and internlm2-chat). */
export const INTERNVL2_SYSTEM_MESSAGE =
  "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。";

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

/** How a model was trained to be asked. */
export interface Template {
  /** Between a turn's end and what follows. */
  separator: "\n" | "";
  /** The system message where there is no other; without one none is written. */
  system: string | undefined;
  /** Whether an empty message is its role alone, without an end. */
  openEmpty: boolean;
  /** Whether pictures that are in front are numbered where there are several. */
  numbered: boolean;
  /** Whether the parts of a message stand where it has them, each picture on a line of its own; otherwise pictures come first. */
  inPlace: boolean;
  /** Whether an answer is cut at a spelled-out `<|im_end|>`, and white space around it taken away. */
  trimmed: boolean;
}

const INTERNVL2_5: Template = {
  ...{ separator: "\n", system: DEFAULT_SYSTEM_MESSAGE, openEmpty: true, numbered: true, inPlace: false, trimmed: true },
};
const INTERNVL2: Template = { ...INTERNVL2_5, separator: "", system: INTERNVL2_SYSTEM_MESSAGE };

/** By config.json's `template` (upstream's conversation.py), and transformers' ChatML. */
export const TEMPLATES = {
  internvl2_5: INTERNVL2_5,
  "Hermes-2": INTERNVL2,
  "internlm2-chat": INTERNVL2,
  huggingface: { separator: "\n", system: undefined, openEmpty: false, numbered: false, inPlace: true, trimmed: false },
} as const satisfies Record<string, Template>;

/** A prompt's form, as a configuration calls it. */
export type TemplateName = keyof typeof TEMPLATES;

/** The templates that config.json can name. */
export const NAMED_TEMPLATES = ["internvl2_5", "Hermes-2", "internlm2-chat"] as const;

/** @throws EngineError `bad-weights` for a template that is not known */
export function templateName(name: string): TemplateName {
  const found = NAMED_TEMPLATES.find((each) => each === name);
  if (found) return found;
  const supported = NAMED_TEMPLATES.map((each) => `"${each}"`).join(", ");
  const hint = "Take InternVL2, 2.5, 3 or 3.5: others have other templates.";
  throw badWeights(`config.json names the prompt template ${described(name)}, supported: ${supported}`, hint);
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
  template: Template = INTERNVL2_5,
): PromptPart[] {
  const end: PromptPart[] = [{ token: END_OF_TURN }, template.separator];
  const message = (role: string, content: readonly PromptPart[]): PromptPart[] => [
    { token: START_OF_TURN },
    `${role}\n`,
    ...(template.openEmpty && content.every((part) => part === "") ? [] : [...content, ...end]),
  ];
  const said = system ?? template.system;
  return [
    ...(said === undefined ? [] : [{ token: START_OF_TURN }, `system\n${said}`, ...end]),
    ...history.flatMap(([asked, answer]) => [...message("user", withPictures(asked, tokensPerTile)), ...message("assistant", [answer])]),
    ...message("user", withPictures(question, tokensPerTile)),
    ...[{ token: START_OF_TURN }, "assistant\n"],
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

/** The lines to put before a text that brings pictures and does not say where they belong. */
export function imagePrefix(images: number, { numbered }: Pick<Template, "numbered"> = INTERNVL2_5): string {
  if (!numbered) return `${PLACEHOLDER}\n`.repeat(images);
  if (images === 1) return `${PLACEHOLDER}\n`;
  return Array.from({ length: images }, (_, i) => `Image-${i + 1}: ${PLACEHOLDER}\n`).join("");
}

/** One line a frame, to put before the question: `Frame1: <image>\nFrame2: <image>\n…` */
export function videoPrefix(frames: number): string {
  return Array.from({ length: frames }, (_, i) => `Frame${i + 1}: ${PLACEHOLDER}\n`).join("");
}
