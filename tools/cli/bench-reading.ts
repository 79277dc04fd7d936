// Times reading a model's files: a process of its own for `internvl bench`. Arguments: the source, the revision.
import { openWeights } from "../../src/hub/open.ts";
import { openSource } from "../../src/hub/source.ts";
import { timeReadings } from "./bench-read.ts";

const { signal } = new AbortController(); // the parent stops this process
const [source = "", revision] = process.argv.slice(2);
const checkpoint = await openWeights(await openSource(source, { revision, signal }), signal);
try {
  process.stdout.write(JSON.stringify(await timeReadings(checkpoint, signal)));
} finally {
  await checkpoint.close();
}
