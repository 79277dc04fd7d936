// npm run release: everything that must hold before `npm publish`, which it does not do: a fresh build, what npm would send, publint, attw, sizes, and the
// packed package in other people's tools.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { browserSizes, LIMITS } from "./browser/sizes.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = mkdtempSync(join(tmpdir(), "internvl-release-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

function fail(reason) {
  console.error(`not ready: ${reason}`);
  process.exit(1);
}

/** Runs a command, shows what it prints, and ends where it fails; its output where that is `read`. */
function run(command, args, read = false) {
  console.log(`\n$ ${command} ${args.join(" ")}`);
  const { status, stdout } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", read ? "pipe" : "inherit", "inherit"],
  });
  if (status !== 0) fail(`${command} ${args[0]} ended with ${status}`);
  return stdout;
}

const { name, version, repository } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
if (!readFileSync(join(root, "CHANGELOG.md"), "utf8").includes(`## ${version}`)) fail(`CHANGELOG.md has no section "## ${version}"`);
if (run("git", ["status", "--porcelain"], true).trim()) fail("there are changes that are not committed");

run("npm", ["run", "check"]);
const said = run("npm", ["pack", "--json", "--pack-destination", folder], true);
const [packed] = JSON.parse(said.slice(said.lastIndexOf("\n[\n") + 1)); // behind what prepack prints
const tarball = join(folder, packed.filename);
run("npx", ["publint", "--strict", "run", tarball]);
run("npx", ["attw", "--profile", "esm-only", tarball]);

const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
const { entry, answer, worker } = browserSizes(join(root, "dist/browser"));
console.log(`\n${packed.filename}: ${kB(packed.size)}, unpacked ${kB(packed.unpackedSize)}, ${packed.entryCount} files`);
console.log(`a page, gzip: ${kB(entry)} at once, ${kB(answer)} for an answer about a picture, ${kB(worker)} with the model in a worker`);
if (answer > LIMITS.answer || worker > LIMITS.worker)
  fail(`a first answer needs more than ${kB(LIMITS.answer)}, or ${kB(LIMITS.worker)} with a worker`);

run("npx", ["vitest", "run", "--mode", "full", "--project", "built", "test/toolchains"]);
console.log(`\n${name}@${version} is ready: npm publish`);
if (!repository) console.log('package.json names no "repository" yet: npm makes no provenance without it');
