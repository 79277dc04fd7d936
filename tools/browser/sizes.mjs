// What a page downloads of dist/browser before its first answer.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

/** Bytes of gzip that a first answer about a picture may need, in the page and with the model in a worker. */
export const LIMITS = { answer: 100_000, worker: 123_600 };

/** Some files and all that they import at once. */
function closure(folder, names, found = new Set()) {
  for (const name of names) {
    if (found.has(name)) continue;
    found.add(name);
    const code = readFileSync(`${folder}/${name}`, "utf8");
    closure(
      folder,
      [...code.matchAll(/(?:from|import)\s*["'`]\.\/([\w.-]+\.js)["'`]/g)].map(([, other]) => other),
      found,
    );
  }
  return [...found];
}

/**
 * Bytes of gzip, file by file as a server sends them.
 *
 * @param folder dist/browser
 */
export function browserSizes(folder) {
  const sum = (...names) => closure(folder, names).reduce((bytes, name) => bytes + gzipSync(readFileSync(`${folder}/${name}`)).length, 0);
  const answer = ["internvl.js", "core.js", "decode-file.js"]; // the entry, what computes, and what decodes a picture
  return {
    entry: sum("internvl.js"),
    answer: sum(...answer),
    worker: sum("internvl.js", "worker.js", "model-parts.js", "part-main.js"),
  };
}
