import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InternVL } from "internvl-webgpu";

const nano = fileURLToPath(new URL("weights/nano", import.meta.resolve("internvl-webgpu/package.json")));
const [folder, question = "What happens in this video?", model = nano] = process.argv.slice(2);

const isFrame = /^[^.].*\.(png|jpe?g)$/i; // macOS leaves files that begin with a dot
const frames = folder
  ? (await readdir(folder))
      .filter((name) => isFrame.test(name))
      .sort()
      .map((name) => join(folder, name))
  : [1, 2, 3, 4].map((i) => `${nano}/images/walk-${i}.png`);
const vlm = await InternVL.load(model);
const reply = vlm.chat(question, { video: frames });
for await (const piece of reply) process.stdout.write(piece);
console.log();
await vlm.dispose();
