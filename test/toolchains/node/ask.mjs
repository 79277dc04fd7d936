import { InternVL } from "internvl-webgpu";

const nano = "node_modules/internvl-webgpu/weights/nano";
const vlm = await InternVL.load(nano);
console.log((await vlm.chat("What shape is it?", { images: [`${nano}/images/card-1.png`] })).text);
await vlm.dispose();
