import { tinySuite } from "../shared/tiny.ts";
import { readRepository } from "../support.ts";

for (const name of ["tiny-qwen", "tiny-qwen-tied", "tiny-internlm2", "tiny-vit6b", "tiny-qwen3"]) await tinySuite(name, readRepository);
