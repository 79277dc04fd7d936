import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InternVL } from "internvl-webgpu";

const nano = fileURLToPath(new URL("weights/nano", import.meta.resolve("internvl-webgpu/package.json")));
const [folder = `${nano}/images`, out = "captions.csv", model = nano, prompt = "What shape is it?"] = process.argv.slice(2);

const cell = (text) => `"${text.replaceAll('"', '""')}"`;

const names = (await readdir(folder)).filter((name) => /\.(png|jpe?g)$/i.test(name) && !name.startsWith(".")).sort();
const vlm = await InternVL.load(model);
let done = 0;
const results = await vlm.batch(
  names.map((name) => ({ prompt, images: [join(folder, name)] })),
  { maxTokens: 128, onResult: () => console.error(`${++done}/${names.length}`) },
);
const rows = results.map(({ text, error }, i) => [names[i], text ?? "", error?.message ?? ""].map(cell).join());
await writeFile(out, `${["file,caption,error", ...rows].join("\n")}\n`);
await vlm.dispose();
