import { EngineError } from "../errors.ts";
import { imagePrefix, PLACEHOLDER, placeholders, videoPrefix } from "../text/template.ts";
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

/** Pictures go to the markers of the text that brings them, or in front of it where it has none, or where what looks like markers is text. */
function place({ name, text }: Asked, pictures: readonly Picture[], literal: boolean): Placed {
  const markers = placeholders(text);
  if ((markers === 0 && pictures.length > 0) || (literal && markers !== pictures.length))
    return { text: imagePrefix(pictures.length) + text, pictures };
  if (markers !== pictures.length) throw mismatch(name, markers, pictures.length);
  return { text, pictures };
}

/**
 * Gives every picture its place. Markers of earlier turns that brought no pictures of their own take from `images` first: so the model
 * card has it, where every turn gives the pictures of all. What is left is the question's; a video's lines come before it.
 *
 * @throws EngineError bad-input, naming the text and both counts
 */
export function placePictures({
  turns,
  question,
  images,
  frames,
  literalMarkers = false,
}: Pick<Ask, "turns" | "question" | "images" | "frames" | "literalMarkers">): {
  turns: Placed[];
  question: Placed;
} {
  let taken = 0;
  const earlier = turns.map(({ asked }) => {
    if (asked.pictures.length > 0 || literalMarkers) return place(asked, asked.pictures, literalMarkers);
    const markers = placeholders(asked.text);
    const own = images.slice(taken, taken + markers);
    taken += markers;
    if (own.length < markers) throw mismatch(asked.name, markers, own.length);
    return { text: asked.text, pictures: own };
  });
  const placed = place(question, question.pictures.length > 0 ? question.pictures : images.slice(taken), literalMarkers);
  return { turns: earlier, question: { text: videoPrefix(frames.length) + placed.text, pictures: [...frames, ...placed.pictures] } };
}
