// What is seldom asked of a picture that a page shows: its file, and why it cannot be read.
import { EngineError } from "../errors.ts";

/** The error for what the browser does not give out. */
export function unreadable(cause: unknown): EngineError {
  const tainted = (cause as DOMException).name === "SecurityError";
  return new EngineError("bad-image", `the browser does not give the picture's pixels out: ${(cause as Error).message}`, {
    hint: tainted ? 'load it from the page\'s own origin, or with CORS and crossorigin="anonymous"' : "give the picture's File or Blob",
    cause,
  });
}

/** The error for an image object that shows nothing. */
export const nothingShown = (width: number, height: number): EngineError =>
  new EngineError("bad-image", `the picture has ${width} x ${height} pixels to show`, {
    hint: "it is closed or has not loaded yet: wait for its load (img) or loadeddata (video) event",
  });

/** The file behind an img element, from the browser's cache; `undefined` where it cannot be had or is of a kind only browsers decode. */
export async function fileOf(image: object): Promise<Blob | undefined> {
  const { currentSrc = "" } = image as HTMLImageElement;
  if (!("naturalWidth" in image) || !currentSrc) return undefined;
  try {
    const blob = await (await fetch(currentSrc)).blob();
    return /^image\/(png|jpeg)$/.test(blob.type) ? blob : undefined;
  } catch {
    return undefined; // a revoked blob: URL, or another origin without CORS: then it is drawn, or refused there
  }
}
