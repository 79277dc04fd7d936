import { once } from "node:events";
import { parentPort, workerData } from "node:worker_threads";
import type { HeifAnswer } from "./node-images.ts";

// The script of the thread that decodes a HEIC file: says its size, waits for a word, says its pixels.

/** What we use of libheif-js. */
interface Libheif {
  HeifDecoder: new () => { decode(file: Uint8Array): HeifImage[] };
}
interface HeifImage {
  is_primary(): boolean;
  get_width(): number;
  get_height(): number;
  display(
    into: { data: Uint8ClampedArray; width: number; height: number },
    done: (shown: { data: Uint8ClampedArray } | null) => void,
  ): void;
}

const port = parentPort!;
const say = (answer: HeifAnswer): void => port.postMessage(answer);
let said = "";
console.log = (...words: unknown[]) => {
  said = words.filter((word) => typeof word === "string").join(" "); // libheif speaks of errors here
};

async function run(): Promise<void> {
  let libheif: Libheif;
  try {
    libheif = ((await import("libheif-js/wasm-bundle.js" as string)) as { default: Libheif }).default;
  } catch (cause) {
    say({ absent: (cause as NodeJS.ErrnoException).code ?? (cause as Error).message });
    return;
  }
  const images = new libheif.HeifDecoder().decode(workerData as Uint8Array);
  const image = images.find((each) => each.is_primary()) ?? images[0];
  if (!image) {
    say({ error: said.replace(/^Could not parse HEIF file /, "") || "it holds no picture" });
    return;
  }
  const [width, height] = [image.get_width(), image.get_height()];
  say({ width, height });
  await once(port, "message");
  const shown = await new Promise<{ data: Uint8ClampedArray } | null>((resolve) =>
    image.display({ data: new Uint8ClampedArray(width * height * 4), width, height }, resolve),
  );
  say(shown ? { width, height, data: new Uint8Array(shown.data.buffer) } : { error: said || "its pixels are damaged" });
}

run().catch((cause: Error) => say({ error: cause.message }));
