import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { constants, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { EngineError } from "../errors.ts";
import { quoted } from "../options.ts";
import { once } from "./once.ts";

const RTLD_NODELETE = 0x1000; // not among os.constants
const FILES = ["libvk_swiftshader.so", "vk_swiftshader_icd.json", "libvulkan.so.1"];

const isWhole = (folder: string): boolean => FILES.every((file) => existsSync(join(folder, file)));

async function freshFolder(cache: string): Promise<string> {
  try {
    await mkdir(cache, { recursive: true });
    return await mkdtemp(join(cache, "swiftshader-"));
  } catch {
    return mkdtemp(join(tmpdir(), "swiftshader-")); // node_modules is read-only: a private folder each time
  }
}

/** Unpacks SwiftShader from the installed `@sparticuz/chromium` once; `undefined` where the package is not installed. */
async function unpack(): Promise<string | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64") return undefined;
  const require = createRequire(import.meta.url);
  let packageRoot: string;
  try {
    packageRoot = join(dirname(require.resolve("@sparticuz/chromium")), "../..");
  } catch {
    return undefined; // an optional development package
  }
  const { version } = require(join(packageRoot, "package.json")) as { version: string };
  // Beside the package, not in a shared temporary folder: a library that we load must not be somebody else's.
  const cache = join(packageRoot, "../../.cache/internvl-webgpu");
  const target = join(cache, `swiftshader-${version}`);
  if (isWhole(target)) return target;
  const fresh = await freshFolder(cache);
  try {
    const { extract } = await import("tar-fs");
    await pipeline(createReadStream(join(packageRoot, "bin/swiftshader.tar.br")), createBrotliDecompress(), extract(fresh));
  } catch (cause) {
    await rm(fresh, { recursive: true, force: true });
    throw new EngineError("no-adapter", `SwiftShader cannot be unpacked into ${quoted(fresh)}: ${(cause as Error).message}`, {
      hint: "make room there, and install it whole: npm install @sparticuz/chromium@147.0.0 tar-fs",
      cause,
    });
  }
  if (dirname(fresh) !== cache) return fresh;
  try {
    await rename(fresh, target); // whole or not at all, also when two processes start together
    return target;
  } catch {
    if (!isWhole(target)) return fresh;
    await rm(fresh, { recursive: true, force: true });
    return target;
  }
}

const unpacked = once(unpack);

let offered = false;

/**
 * Makes the SwiftShader that comes inside `@sparticuz/chromium` (a development package, Linux x64) known to the Vulkan loader.
 *
 * @param needsLoader whether the machine has no Vulkan loader of its own
 * @returns whether there is one to offer
 * @throws EngineError no-adapter where it is installed and cannot be unpacked
 */
export async function offerSwiftShader(needsLoader: boolean): Promise<boolean> {
  const folder = await unpacked();
  if (!folder) return false;
  if (offered) return true; // a process has one list of drivers and one Vulkan loader
  if (needsLoader) {
    try {
      // Dawn opens libvulkan.so.1 by its name; one that is already in the process is found without being installed.
      process.dlopen(
        { exports: {} },
        join(folder, "libvulkan.so.1"),
        constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE,
      );
    } catch (error) {
      if (!/did not self-register/.test(String(error))) return false; // that one says: loaded, but no Node module, as expected
    }
  }
  const icd = join(folder, "vk_swiftshader_icd.json");
  // The loader ignores VK_ADD_DRIVER_FILES once a list of drivers is set: then ours goes to the end of that list.
  const variable = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].find((name) => process.env[name]) ?? "VK_ADD_DRIVER_FILES";
  process.env[variable] = [process.env[variable], icd].filter(Boolean).join(delimiter);
  offered = true;
  return true;
}
