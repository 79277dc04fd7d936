import { HF, hfSuite, sentencePieceSuite } from "../shared/layouts.ts";
import { isQuick } from "../shared/quick.ts";
import { readRepository } from "../support.ts";

// The cases differ in what is asked, the models in what is computed: the first has them all, the others some in the ordinary run on SwiftShader.
const some = isQuick ? ["image", "multiturn"] : undefined;
for (const [i, name] of HF.entries()) await hfSuite(name, readRepository, i > 0 ? some : undefined);
await sentencePieceSuite(readRepository);
