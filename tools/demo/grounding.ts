import type { Box } from "../../src/index.ts";
import { make } from "./dom.ts";
import type { Picture } from "./pictures.ts";
import { framed } from "./tiles.ts";

/** Dark enough for the white number on them. */
const COLOURS = ["#c2143c", "#1b7031", "#2f4fb5", "#984800", "#7d1591", "#006577"];

interface Seen {
  picture: Picture;
  preview: string;
}

/** What each `<image>` of a turn stands for, in their order: a video's frames come first. */
const seenIn = (pictures: readonly Picture[]): Seen[] =>
  ["video", "image"].flatMap((kind) =>
    pictures
      .filter((picture) => picture.kind === kind)
      .flatMap((picture) => (kind === "video" ? picture.previews : picture.previews.slice(0, 1)).map((preview) => ({ picture, preview }))),
  );

/**
 * The pictures that an answer points at with its boxes drawn on them, each with a number, and what they are of.
 *
 * @param turns the pictures of each question, up to the one that is answered
 */
export function grounding(boxes: readonly Box[], turns: readonly (readonly Picture[])[]): HTMLElement[] {
  const seen = turns.flatMap(seenIn);
  const number = (box: Box) => boxes.indexOf(box) + 1;
  const colour = (box: Box) => COLOURS[boxes.indexOf(box) % COLOURS.length]!;
  const badge = (box: Box): HTMLElement => {
    const element = make("span", { className: "badge" }, String(number(box)));
    element.style.background = colour(box);
    return element;
  };
  const drawn = (box: Box): HTMLElement => {
    const [x1, y1, x2, y2] = box.box;
    const element = make("div", { className: "box" }, badge(box));
    Object.assign(element.style, { left: `${x1 / 10}%`, top: `${y1 / 10}%`, width: `${(x2 - x1) / 10}%`, height: `${(y2 - y1) / 10}%` });
    element.style.borderColor = colour(box);
    return element;
  };
  const figures = seen.flatMap(({ picture, preview }, i) => {
    const own = boxes.filter(({ image }) => image === i);
    if (own.length === 0) return [];
    const over = make("div", { className: "boxes", ariaHidden: "true" }, ...own.map(drawn));
    const names = own.map((box) => make("li", {}, badge(box), ` ${box.ref ?? "no name"} `, make("small", {}, box.box.join(", "))));
    const caption = make("figcaption", {}, make("ul", {}, ...names));
    return [
      make("figure", { className: "grounding" }, framed(preview, `${picture.name} with what the answer points at`, picture, over), caption),
    ];
  });
  const lost = boxes.filter(({ image }) => image === undefined || image >= seen.length).length;
  const note = `${lost} of ${boxes.length} boxes are not drawn: the answer does not say in which picture they are.`;
  return lost > 0 ? [...figures, make("p", { className: "note" }, note)] : figures;
}
