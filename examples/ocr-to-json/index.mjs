import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { InternVL } from "internvl-webgpu";

const nano = fileURLToPath(new URL("weights/nano", import.meta.resolve("internvl-webgpu/package.json")));
const [image = `${nano}/images/badge-1.png`, file, model = nano] = process.argv.slice(2);

const NUMBER = {
  type: "object",
  properties: { number: { type: "integer" }, colour: { enum: ["red", "orange", "yellow", "green", "blue", "purple", "pink", "black"] } },
  required: ["number", "colour"],
  additionalProperties: false,
};
const schema = file ? JSON.parse(await readFile(file, "utf8")) : NUMBER;

const vlm = await InternVL.load(model);
const prompt = `Read the picture. Answer as JSON of this schema: ${JSON.stringify(schema)}`;
const { text, finishReason } = await vlm.chat(prompt, { images: [image], schema, maxTokens: 512 });
if (finishReason !== "stop") throw new Error(`the answer was cut off: ${text}`);
console.log(JSON.stringify(JSON.parse(text), null, 2));
await vlm.dispose();
