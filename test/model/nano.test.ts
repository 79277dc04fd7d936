import { InternVL } from "../../src/index.ts";
import { conversationsOf, nanoSuite } from "../shared/nano.ts";
import { pathOf, readRepository } from "../support.ts";

const folder = pathOf("weights/nano");

nanoSuite(
  "the embedded model",
  await conversationsOf(readRepository),
  () => InternVL.load(folder),
  (path) => `${folder}/${path}`,
);
