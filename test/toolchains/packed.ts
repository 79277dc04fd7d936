import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathOf } from "../support.ts";

/** A project that has installed the package. */
export interface Consumer {
  project: string;
  tarball: string;
  remove(): void;
}

/** The package as it would be published, of the dist/ that is there; the file's path. */
export function packTarball(folder: string): string {
  execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: pathOf(""), stdio: "pipe" });
  return join(folder, readdirSync(folder).find((name) => name.endsWith(".tgz"))!);
}

/**
 * The package as it would be published, of the dist/ that `npm ci` built, unpacked in a project of a stranger's. Without a registry: what npm
 * would have installed beside it is linked.
 *
 * @param beside further packages that the project has
 */
export function packedConsumer(beside: readonly string[] = []): Consumer {
  const folder = mkdtempSync(join(tmpdir(), "internvl-consumer-"));
  const tarball = packTarball(folder);
  const project = join(folder, "project");
  const modules = join(project, "node_modules");
  mkdirSync(join(modules, "internvl-webgpu"), { recursive: true });
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
  execFileSync("tar", ["-xzf", tarball, "-C", join(modules, "internvl-webgpu"), "--strip-components=1"]);
  const { dependencies } = JSON.parse(readFileSync(pathOf("package.json"), "utf8")) as { dependencies: Record<string, string> };
  for (const name of [...Object.keys(dependencies), ...beside]) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(pathOf(`node_modules/${name}`), join(modules, name));
  }
  return { project, tarball, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
