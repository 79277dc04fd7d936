// Where a page's workers have their scripts from. Bundlers find them by this very form, as Vite does for our own pages; in the published files
// for browsers tools/browser/scripts.js stands here, and brings them along by itself.

/** The worker that `InternVLWorker` speaks to. */
export const startModel = async (): Promise<Worker> =>
  new Worker(new URL("../worker-thread.ts", import.meta.url), { type: "module", name: "internvl" });

/** The worker that decodes pictures. */
export const decodeWorker = async (): Promise<Worker> =>
  new Worker(new URL("../media/decode-thread.ts", import.meta.url), { type: "module", name: "internvl pictures" });

/** The WebAssembly module that it needs; `undefined`: it fetches that itself. */
export const jpegDecoder = async (): Promise<Uint8Array | undefined> => undefined;
