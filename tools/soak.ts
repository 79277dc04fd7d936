// Many short chats with pictures on one model: resident memory, the ledger and bytes on the GPU must stay flat.
//   node --expose-gc dist/tools/soak.js [chats] [adapter]
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { partsOf } from "../src/api/internvl.ts";
import { InternVL } from "../src/index.ts";

const folder = fileURLToPath(new URL("../../weights/nano", import.meta.url));
const chats = Number(process.argv[2] ?? 1000);
const vlm = await InternVL.load(folder, { device: { adapter: process.argv[3] }, maxContext: 512 });
const images = readdirSync(join(folder, "images"))
  .filter((name) => name.startsWith("card-"))
  .map((name) => join(folder, "images", name));

const { gpu } = partsOf(vlm);
let last = { ...gpu.counters };
/** The state after some chats, as one line of JSON. */
function report(chat: number): void {
  globalThis.gc?.();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  const mib = (bytes: number) => Math.round((bytes / 2 ** 20) * 10) / 10;
  const { bytes, entries } = vlm.memory();
  const created = gpu.counters.buffers - last.buffers + (gpu.counters.bindGroups - last.bindGroups);
  last = { ...gpu.counters };
  const line = {
    chat,
    rssMiB: mib(rss),
    heapMiB: mib(heapUsed),
    arrayBuffersMiB: mib(arrayBuffers),
    gpuBytes: bytes,
    buffers: entries.length,
    createdSince: created,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const began = performance.now();
for (let chat = 1; chat <= chats; chat++) {
  const image = images[chat % images.length]!;
  const sampled = chat % 3 === 0 ? { temperature: 1, topP: 0.9, seed: chat } : {};
  const { history } = await vlm.chat("<image>\nWhat shape is it?", { images: [image], maxTokens: 4, maxTiles: 1, ...sampled });
  if (chat % 5 === 0) await vlm.chat("What color is it?", { history, maxTokens: 2 });
  if (chat % 50 === 0) await vlm.batch([{ prompt: "Hello" }, { prompt: "What?", images: [image] }], { maxTokens: 2, maxContext: 256 });
  if (chat === 1 || chat === chats || chat % 100 === 0) report(chat);
}
process.stdout.write(`${JSON.stringify({ chats, seconds: Math.round((performance.now() - began) / 1000), adapter: vlm.adapter })}\n`);
await vlm.dispose();
