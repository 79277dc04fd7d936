// A page that forbids scripts from Blobs: the library's own worker cannot start and says what to do, one of the page's files can.
import { InternVL } from "/node_modules/internvl-webgpu/dist/browser/internvl.js";

const nano = new URL("/nano", location.href);
const refused = await InternVL.load(nano, { worker: true }).catch(({ name, code, hint }) => ({ name, code, hint }));
const worker = new Worker("/node_modules/internvl-webgpu/dist/browser/worker-thread.js", { type: "module" });
const vlm = await InternVL.load(nano, { worker, maxContext: 2048 });
const image = await (await fetch("/nano/images/card-1.png")).blob();
const { text } = await vlm.chat("What shape is it?", { images: [image] });
document.title = JSON.stringify({ refused, text });
