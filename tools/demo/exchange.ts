import { history, messagesOf, pictureNames } from "../../src/api/messages.ts";
import { type Picture as GivenPicture, isPixels, rawPixels, type Source } from "../../src/api/pictures.ts";
import { EngineError } from "../../src/errors.ts";
import { type Box, type Message, parseBoxes, type RawImage } from "../../src/index.ts";
import { conversationText, messagesOfText } from "../conversation-form.ts";
import { make } from "./dom.ts";
import { openPicture, type Picture } from "./pictures.ts";

/** A turn of an imported conversation. */
export interface ImportedTurn {
  question: string;
  pictures: Picture[];
  answer: string;
  boxes: Box[];
  /** The conversation up to this answer. */
  history: Message[];
}

/** Gives the conversation out as a file, the one that `internvl chat --save` writes. */
export function exportConversation(messages: readonly Message[]): void {
  const href = URL.createObjectURL(new Blob([conversationText(messages)], { type: "application/json" }));
  make("a", { href, download: "conversation.json" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** Reads such a file. @throws EngineError bad-input, bad-image, network */
export async function importConversation(file: File): Promise<{ system: string | undefined; turns: ImportedTurn[] }> {
  const { system, turns } = history(messagesOfText(await file.text(), file.name), "messages");
  const imported: ImportedTurn[] = [];
  for (const [i, { asked, answer }] of turns.entries()) {
    const soFar = messagesOf({ turns: turns.slice(0, i + 1), systemSaid: false });
    imported.push({
      question: asked.text.replace(/^((Image-\d+: |Frame\d+: )?<image>\n)+/, ""), // the library puts them in front again
      pictures: await shown(asked.pictures, asked.text),
      answer,
      boxes: parseBoxes(answer, pictureNames(soFar)),
      history: soFar,
    });
  }
  return { system, turns: imported };
}

/** The pictures of a question; those that it calls frames are one video. */
async function shown(given: readonly GivenPicture[], text: string): Promise<Picture[]> {
  const isFrame = Array.from(text.matchAll(/(Frame\d+: )?<image>/g), ([, frame]) => frame !== undefined);
  const frames: Picture[] = [];
  const images: Picture[] = [];
  for (const [i, { sources, maxTiles }] of given.entries()) {
    const name = `image ${i + 1}`;
    const opened: Picture[] = [];
    for (const source of sources) opened.push({ ...(await openPicture(await fileOf(source, name))), ...exactly(source, name) });
    (isFrame[i] ? frames : images).push({ ...joined(opened), maxTiles });
  }
  return frames.length > 0 ? [{ ...joined(frames), name: "video", kind: "video" }, ...images] : images;
}

const joined = (pictures: readonly Picture[]): Picture => ({
  ...pictures[0]!,
  images: pictures.flatMap(({ images }) => images),
  previews: pictures.flatMap(({ previews }) => previews),
});

/** Pixels are asked about again as they are: a canvas has rounded them by their alpha. */
const exactly = (source: Source, name: string): Partial<Picture> =>
  typeof source === "object" && isPixels(source) ? { images: [rawPixels(source, name)] } : {};

/** A picture of a kept conversation as a file: they are data URLs, addresses or pixels. */
async function fileOf(source: Source, name: string): Promise<File> {
  if (typeof source === "object" && isPixels(source)) return new File([await png(rawPixels(source, name))], name);
  if (typeof source !== "string" || !/^(data|https?):/i.test(source)) {
    throw new EngineError(
      "bad-input",
      `${name} is ${typeof source === "string" ? JSON.stringify(source.slice(0, 80)) : "no picture"}, which a page cannot open`,
      {
        hint: "save the conversation again where that picture is",
      },
    );
  }
  try {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return new File([await response.blob()], name);
  } catch (cause) {
    throw new EngineError("network", `${name} cannot be fetched from ${source.slice(0, 80)}: ${(cause as Error).message}`, {
      hint: "its server must let other pages read it (CORS)",
      cause,
    });
  }
}

async function png({ data, width, height, channels = data.length / (width * height) }: RawImage): Promise<Blob> {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 4; c++) if (c < 3 || channels === 4) rgba[i * 4 + c] = data[i * channels + (channels < 3 ? 0 : c)]!;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas.convertToBlob();
}
