import { InternVL } from "internvl-webgpu";

const nano = "node_modules/internvl-webgpu/weights/nano";
let loading;

/** The server answers: the model is loaded with the first question. */
export async function GET() {
  loading ??= InternVL.load(nano);
  const vlm = await loading;
  return new Response((await vlm.chat("What shape is it?", { images: [`${nano}/images/card-1.png`] })).text);
}
