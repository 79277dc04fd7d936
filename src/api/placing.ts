import { EngineError } from "../errors.ts";
import { imagePrefix, PLACEHOLDER, placeholders, TEMPLATES, type Template, videoPrefix } from "../text/template.ts";
import type { Ask } from "./asking.ts";
import type { Asked } from "./messages.ts";
import type { Picture } from "./pictures.ts";

/** A user's text with exactly one `<image>` for each of its pictures, in their order. */
export interface Placed {
  text: string;
  pictures: readonly Picture[];
}

const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;

function mismatch(name: string, markers: number, images: number): EngineError {
  const hint =
    images === 0
      ? `give one image for each ${PLACEHOLDER}, or write it differently if you mean the word`
      : markers < images
        ? `write one ${PLACEHOLDER} for each image or none at all, or nest images in a list to share one`
        : `give one image for each ${PLACEHOLDER}, or take out the placeholders that have none`;
  const has = `${name} has ${counted(markers, `${PLACEHOLDER} placeholder`)}`;
  return new EngineError("bad-input", `${has} but ${counted(images, "image")} came with it`, { hint });
}

/** Pictures go to the markers of the text that brings them; where it has none, to where they stand in the message, or in front. */
function place({ name, text, parts, pictures: own }: Asked, pictures: readonly Picture[], template: Template): Placed {
  const markers = placeholders(text);
  if (markers === 0 && template.inPlace && parts && own.length === pictures.length) {
    return { text: parts.map((part) => part ?? imagePrefix(1, template)).join(""), pictures };
  }
  if (markers === 0 && pictures.length > 0) return { text: imagePrefix(pictures.length, template) + text, pictures };
  if (markers !== pictures.length) throw mismatch(name, markers, pictures.length);
  return { text, pictures };
}

/**
 * Gives every picture its place. Markers of earlier turns that brought no pictures of their own take from `images` first: so the model
 * card has it, where every turn gives the pictures of all. What is left is the question's; a video's lines come before it. The template says
 * how pictures without a marker are put, not which picture comes where.
 *
 * @throws EngineError bad-input, naming the text and both counts
 */
export function placePictures(
  { turns, question, images, frames }: Pick<Ask, "turns" | "question" | "images" | "frames">,
  template: Template = TEMPLATES.internvl2_5,
): { turns: Placed[]; question: Placed } {
  let taken = 0;
  const earlier = turns.map(({ asked }) => {
    if (asked.pictures.length > 0) return place(asked, asked.pictures, template);
    const markers = placeholders(asked.text);
    const own = images.slice(taken, taken + markers);
    taken += markers;
    if (own.length < markers) throw mismatch(asked.name, markers, own.length);
    return place(asked, own, template);
  });
  const placed = place(question, question.pictures.length > 0 ? question.pictures : images.slice(taken), template);
  return { turns: earlier, question: { text: videoPrefix(frames.length) + placed.text, pictures: [...frames, ...placed.pictures] } };
}
