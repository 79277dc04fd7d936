import { spawnSync } from "node:child_process";
import { chmodSync, createReadStream, createWriteStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

/** How Playwright starts a Chromium that has WebGPU. */
export interface ChromiumLaunch {
  executablePath?: string;
  args: string[];
  env?: Record<string, string>;
  ignoreDefaultArgs: string[];
}

/** The new headless mode is the real browser; `--enable-unsafe-webgpu` lets software adapters in. */
const ARGS = ["--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--enable-unsafe-swiftshader"];

/** Unpacks the browser, SwiftShader and the libraries of the package once, beside the package. */
async function unpack(): Promise<string> {
  const require = createRequire(import.meta.url);
  const packageRoot = join(dirname(require.resolve("@sparticuz/chromium")), "../..");
  const { version } = require(join(packageRoot, "package.json")) as { version: string };
  const cache = join(packageRoot, "../../.cache/internvl-webgpu");
  const target = join(cache, `chromium-${version}`);
  if (existsSync(target)) return target;
  await mkdir(cache, { recursive: true });
  const fresh = await mkdtemp(join(cache, "chromium-"));
  const open = (file: string) => createReadStream(join(packageRoot, "bin", file));
  await pipeline(open("chromium.br"), createBrotliDecompress(), createWriteStream(join(fresh, "chromium")));
  chmodSync(join(fresh, "chromium"), 0o755);
  for (const archive of ["swiftshader.tar.br", "al2023.tar.br"]) await pipeline(open(archive), createBrotliDecompress(), extract(fresh));
  try {
    await rename(fresh, target); // whole or not at all, also when two processes start together
  } catch {
    await rm(fresh, { recursive: true, force: true });
  }
  return target;
}

/**
 * The Chromium to test in: `$CHROME`, else the one of `@sparticuz/chromium` (Linux x64), else the one that
 * `npx playwright install chromium` fetched.
 */
export async function chromiumLaunch(): Promise<ChromiumLaunch> {
  const launch: ChromiumLaunch = { args: ARGS, ignoreDefaultArgs: ["--headless", "--mute-audio"] };
  if (process.env.CHROME) return { ...launch, executablePath: process.env.CHROME };
  if (process.platform !== "linux" || process.arch !== "x64") return launch;
  const folder = await unpack();
  const executablePath = join(folder, "chromium");
  // A machine without NSS and Expat takes those of the package; one that has them keeps its own.
  const missing = /not found/.test(spawnSync("ldd", [executablePath], { encoding: "utf8" }).stdout ?? "");
  if (!missing) return { ...launch, executablePath };
  const path = [join(folder, "lib"), process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter);
  return { ...launch, executablePath, env: { ...(process.env as Record<string, string>), LD_LIBRARY_PATH: path } };
}
