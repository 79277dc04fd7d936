import { InternVLWorker } from "../../../src/api/worker.ts";
import { InternVL } from "../../../src/index.ts";
import { doorSuite } from "../../shared/door.ts";
import { isQuick } from "../../shared/quick.ts";
import { nanoFiles, pictureFile } from "./support.ts";

const picture = () => pictureFile("images/card-1.png");
// Without a worker it is what Node's run shows.
if (!isQuick) doorSuite("the door in a page", async () => InternVL.load(await nanoFiles()), picture);
doorSuite("the door of a worker", async () => InternVLWorker.load(await nanoFiles()), picture);
