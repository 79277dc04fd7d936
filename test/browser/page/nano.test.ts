import { inject } from "vitest";
import { InternVL } from "../../../src/index.ts";
import { conversationsOf, nanoSuite } from "../../shared/nano.ts";
import { nanoFiles, pictureFile, readRepository } from "./support.ts";

/** Each kind of conversation; `npm run test:full` runs all of them. */
const SOME = ["single-image-001", "single-image-010", "two-round-003", "tiled-004", "multi-image-009", "video-001", "text-only-003"];

const all = await conversationsOf(readRepository);
const chosen = inject("full") ? all : all.filter(({ id }) => SOME.includes(id));
const title = `nano in the page: ${chosen.length} of ${all.length} conversations${inject("full") ? "" : ", test:full runs all"}`;

nanoSuite(title, chosen, async () => InternVL.load(await nanoFiles()), pictureFile);
