import { inject } from "vitest";
import { HF, hfSuite, sentencePieceSuite } from "../../shared/layouts.ts";
import { tinySuite } from "../../shared/tiny.ts";
import { readRepository } from "./support.ts";

// One of each architecture, and one whose head is its embedding. The rest of the cases differ in prompts, which Node's tests cover: `npm run test:full` runs them here too.
const only = inject("full") ? undefined : ["single", "textturn"];

for (const name of ["tiny-qwen", "tiny-qwen-tied", "tiny-internlm2", "tiny-vit6b", "tiny-qwen3"])
  await tinySuite(name, readRepository, only);

for (const name of HF) await hfSuite(name, readRepository, inject("full") ? undefined : ["image"]);
await sentencePieceSuite(readRepository, inject("full") ? undefined : ["text"]);
