// What only Node has: compiled with @types/node.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { type ImageLike, InternVL } from "internvl-webgpu";

const { signal } = new AbortController();
const vlm = await InternVL.load(pathToFileURL("./model"), { signal, fetch: (input, init) => fetch(input, init) });
export const pictures: ImageLike[] = [await readFile("a.png"), Buffer.from(""), new Blob([]), new URL("https://host/a.png")];
await vlm.chat("What?", { images: pictures, signal: AbortSignal.timeout(1000) });
// @ts-expect-error: the controller is no signal
await vlm.chat("What?", { signal: new AbortController() });
