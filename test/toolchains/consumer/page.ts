// What only a page has: compiled with lib "DOM".
import { type ImageLike, InternVL, type SourceLike } from "internvl-webgpu";
import { InternVLWorker } from "internvl-webgpu/worker";

declare const file: File;
declare const folder: FileSystemDirectoryHandle;
declare const files: FileList;
declare const bitmap: ImageBitmap;
declare const frame: VideoFrame;

export const sources: SourceLike[] = [new URL("https://host/model"), [file], files, folder];
const elements = [new Image(), document.createElement("canvas"), document.createElement("video")];
export const pictures: ImageLike[] = [...elements, file, new Blob([]), new ImageData(1, 1), bitmap, frame, new OffscreenCanvas(1, 1)];

const { signal } = new AbortController();
const vlm = await InternVL.load(folder, { signal, fetch: (input, init) => fetch(input, init) });
await vlm.chat("What?", { images: pictures, signal: AbortSignal.timeout(1000), decoder: "native" });
await InternVL.load([file], { worker: new Worker("worker.js", { type: "module" }) });
await InternVLWorker.load([file], { worker: new Worker("worker.js", { type: "module" }), signal });
// @ts-expect-error: an element without a picture
await vlm.chat("What?", { images: [document.createElement("div")] });
// @ts-expect-error: the controller is no signal
await vlm.chat("What?", { signal: new AbortController() });
