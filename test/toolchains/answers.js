// What every page of the matrix (matrix.test.ts) does with the package: each entry once, and the model in the page, in the library's worker, and by
// the class of /worker. The package's nano model lies at /nano.
import { EngineError, InternVL } from "internvl-webgpu";
import { internvl } from "internvl-webgpu/ai-sdk";
import { inspect } from "internvl-webgpu/convert";
import { createHandler } from "internvl-webgpu/server";
import { tiles } from "internvl-webgpu/testing";
import { InternVLWorker } from "internvl-webgpu/worker";

/** A photo of more than a million pixels: a thread decodes it, with a decoder in WebAssembly. */
async function largeJpeg() {
  const canvas = new OffscreenCanvas(1600, 800);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "teal";
  pen.fillRect(200, 200, 800, 400);
  const blob = await canvas.convertToBlob({ type: "image/jpeg" });
  return new Uint8Array(await blob.arrayBuffer());
}

async function ask(vlm, image) {
  try {
    return (await vlm.chat("What shape is it?", { images: [image] })).text;
  } finally {
    await vlm.dispose();
  }
}

export async function answers() {
  const nano = new URL("/nano", location.href);
  const image = await (await fetch("/nano/images/card-1.png")).blob();
  const served = await InternVL.load(nano, { maxContext: 2048 });
  const server = await createHandler(served, { model: "nano" })(new Request(new URL("/v1/models", location.href)));
  return {
    tiles: (await tiles(await largeJpeg(), { maxTiles: 2 })).grid.join("x"),
    convert: (await inspect(nano)).config.language.layers,
    server: (await server.json()).data[0].id,
    "ai-sdk": internvl(served).provider,
    page: await ask(served, image),
    worker: await ask(await InternVL.load(nano, { maxContext: 2048, worker: true }), image),
    "large in a worker": await ask(await InternVLWorker.load(nano, { maxContext: 2048 }), await largeJpeg()).then((text) => typeof text),
    error: await InternVL.load(nano, { worker: "yes" }).catch((error) => error instanceof EngineError && error.code),
  };
}

export async function show() {
  let found;
  try {
    found = await answers();
  } catch (error) {
    found = { failed: `${error} ${error.hint ?? ""} ${error.cause ?? ""} ${error.stack}` };
  }
  document.title = JSON.stringify(found);
}
