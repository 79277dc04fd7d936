import { isQuick } from "../shared/quick.ts";
import { tinySuite } from "../shared/tiny.ts";
import { readRepository } from "../support.ts";

// The cases differ in what is asked, the models in what is computed: one has them all, the others two in the ordinary run on SwiftShader.
const some = (name: string) => (isQuick ? ["single", name === "tiny-qwen3" ? "batch" : "textturn"] : undefined);
await tinySuite("tiny-qwen", readRepository);
for (const name of ["tiny-qwen-tied", "tiny-internlm2", "tiny-vit6b", "tiny-qwen3"]) await tinySuite(name, readRepository, some(name));
