/** A part of a picture that an answer points at. */
export interface Box {
  /** What is there, in the answer's words, where it has any: the text of `<ref>`. */
  ref: string | undefined;
  /** Corners in thousandths of the picture's width and height, from its upper left. */
  box: [x1: number, y1: number, x2: number, y2: number];
  /** Which of the conversation's pictures, counted from 0 in the order of their `<image>`; undefined where the answer does not tell. */
  image: number | undefined;
}

const NUMBER = String.raw`\s*(-?\d+(?:\.\d+)?)\s*`;
const CORNERS = new RegExp(String.raw`\[${[NUMBER, NUMBER, NUMBER, NUMBER].join(",")}\]`, "g");
/** A name of a picture, or boxes with what they are of; the closing tags may be missing. */
const PART = /(Image-\d+|Frame\d+)|(?:<ref>([^<]*)(?:<\/ref>\s*)?)?<box>([^<]*)/g;

/**
 * The boxes of an answer, as InternVL writes them: `<ref>a dog</ref><box>[[120, 80, 540, 990]]</box>`. What is cut off or no box is left out;
 * corners beyond the picture are brought back to its edge, and put in order. Works on an answer under way too.
 *
 * @param names what the pictures were called in the prompt (`Image-2`, `Frame1`), one each, so that an answer's mention of one tells which is meant
 *
 * @example
 * ```ts
 * const [box] = parseBoxes("<ref>a dog</ref><box>[[120, 80, 540, 990]]</box>");
 * console.log(box.ref, box.box.join()); // a dog 120,80,540,990
 * ```
 */
export function parseBoxes(text: string, names: readonly (string | undefined)[] = []): Box[] {
  const boxes: Box[] = [];
  const only = names.length === 1 ? 0 : undefined;
  let image = only;
  for (const [, name, ref, list] of text.matchAll(PART)) {
    if (name !== undefined) {
      const at = names.indexOf(name);
      image = at >= 0 && names.lastIndexOf(name) === at ? at : only;
    }
    for (const [, ...found] of (list ?? "").matchAll(CORNERS)) {
      const [x1, y1, x2, y2] = found.map((value) => Math.min(1000, Math.max(0, Number(value)))) as Box["box"];
      const box: Box["box"] = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
      boxes.push({ ref: ref?.trim() || undefined, box, image });
    }
  }
  return boxes;
}
