import { HF, hfSuite, sentencePieceSuite } from "../shared/layouts.ts";
import { readRepository } from "../support.ts";

for (const name of HF) await hfSuite(name, readRepository);
await sentencePieceSuite(readRepository);
