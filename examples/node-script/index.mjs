import { fileURLToPath } from "node:url";
import { InternVL } from "internvl-webgpu";

const nano = fileURLToPath(new URL("weights/nano", import.meta.resolve("internvl-webgpu/package.json")));
const [image = `${nano}/images/card-1.png`, question = "What shape is it?", model = nano] = process.argv.slice(2);

const vlm = await InternVL.load(model, { onProgress: ({ phase, loaded, total }) => console.error(phase, `${loaded}/${total}`) });
const reply = vlm.chat(question, { images: [image] });
for await (const piece of reply) process.stdout.write(piece);
const { usage, timings } = await reply;
console.log();
console.error(`${usage.completionTokens} tokens on ${vlm.adapter}:`, timings);
await vlm.dispose();
