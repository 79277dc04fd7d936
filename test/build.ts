import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("..", import.meta.url));

/** The TypeScript files below some folders that the build compiles. */
function sourcesIn(root: string, folders: readonly string[]): string[] {
  const { exclude } = JSON.parse(readFileSync(join(root, "tsconfig.build.json"), "utf8")) as { exclude: string[] };
  return folders
    .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`))
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts") && !exclude.some((left) => file.startsWith(`${left}/`)));
}

/** When a file was written; 0 where it is not there. */
const writtenAt = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/**
 * Some tests run dist/. Where it is missing or older than the sources they would test something else than what is written.
 *
 * @param folders whose compiled files are needed
 * @throws Error that says what is missing or older, and what to do
 */
export function demandBuild(folders: readonly string[], root = repository): void {
  const sources = sourcesIn(root, folders);
  const old = sources.filter((file) => writtenAt(join(root, "dist", file.replace(/ts$/, "js"))) < writtenAt(join(root, file)));
  if (old.length === 0) return;
  const missing = writtenAt(join(root, "dist/src/index.js")) === 0;
  throw new Error(
    missing
      ? "these tests run dist/, which is missing: run `npm run build` first"
      : `these tests run dist/, which is older than ${old[0]}${old.length > 1 ? ` and ${old.length - 1} more` : ""}: run \`npm run build\` first`,
  );
}
