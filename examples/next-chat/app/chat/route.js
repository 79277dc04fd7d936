import { InternVL } from "internvl-webgpu";

const model = process.env.MODEL ?? "node_modules/internvl-webgpu/weights/nano";
// One model for all requests, also when the development server reads this file anew: chats that come together are decoded together.
const load = () => {
  globalThis.vlm ??= InternVL.load(model);
  return globalThis.vlm;
};

export async function POST(request) {
  const form = await request.formData();
  const vlm = await load();
  const reply = vlm.chat(String(form.get("question")), { images: [form.get("image")], maxTokens: 512, signal: request.signal });
  return new Response(ReadableStream.from(reply).pipeThrough(new TextEncoderStream()), {
    headers: { "content-type": "text/plain; charset=utf-8" },
  });
}
