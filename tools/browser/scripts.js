// Stands in for src/platform/web-scripts.ts in the files that are published for browsers. Their workers start from Blobs whose code comes by
// import(), which every bundler and every browser understands in the same way; `new URL("worker.js", import.meta.url)` they do not: Vite's
// development server, esbuild and Rollup lose the file, and a script of another origin (a CDN) may not be a worker. build.mjs makes the modules of that name.

const blobOf = (code) => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));

/** What `make` gives, made once, and again after it has failed. */
function once(make) {
  let made;
  return () => {
    made ??= make().catch((error) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

const decoder = once(async () => blobOf((await import("decode-script")).default));

export const decodeWorker = async () => new Worker(await decoder(), { type: "module", name: "internvl pictures" });

export const jpegDecoder = once(async () => {
  const { default: base64 } = await import("jpeg-wasm"); // compressed: base64 would otherwise make it a third larger for the network
  const packed = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
});

/** The model's worker in parts: of each the code as text, and which others it imports at once. A worker asks for the later ones when it needs them. */
const parts = once(async () => {
  const { modules } = await import("model-parts");
  const urls = {};
  for (const [name, load] of Object.entries(modules)) {
    urls[name] = once(async () => {
      let { code, imports } = await load();
      for (const other of imports) code = code.replaceAll(`"./${other}"`, JSON.stringify(await urls[other]()));
      return blobOf(code);
    });
  }
  return urls;
});

export async function startModel() {
  const urls = await parts();
  const worker = new Worker(await urls["main.js"](), { type: "module", name: "internvl" });
  worker.addEventListener("message", (event) => {
    const { part } = event.data;
    if (part === undefined) return;
    event.stopImmediatePropagation(); // not the model's message
    urls[part]().then(
      (url) => worker.postMessage({ part, url }),
      (error) => worker.postMessage({ part, error: String(error) }),
    );
  });
  return worker;
}
