import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { constants, tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const RTLD_NODELETE = 0x1000; // not among os.constants
const FILES = ["libvk_swiftshader.so", "vk_swiftshader_icd.json", "libvulkan.so.1"];

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
  if (FILES.every((file) => existsSync(join(target, file)))) return target;
  let parent = cache;
  try {
    await mkdir(cache, { recursive: true });
  } catch {
    parent = tmpdir(); // node_modules is read-only: a fresh private folder each time
  }
  const fresh = await mkdtemp(join(parent, "swiftshader-"));
  const { extract } = await import("tar-fs");
  await pipeline(createReadStream(join(packageRoot, "bin/swiftshader.tar.br")), createBrotliDecompress(), extract(fresh));
  if (parent !== cache) return fresh;
  try {
    await rename(fresh, target); // whole or not at all, also when two processes start together
    return target;
  } catch {
    if (!FILES.every((file) => existsSync(join(target, file)))) return fresh;
    await rm(fresh, { recursive: true, force: true });
    return target;
  }
}

let offered: Promise<boolean> | undefined;

async function offer(needsLoader: boolean): Promise<boolean> {
  const folder = await unpack();
  if (!folder) return false;
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
  return true;
}

/**
 * Makes the SwiftShader that comes inside `@sparticuz/chromium` (a development package, Linux x64) known to the Vulkan loader.
 *
 * @param needsLoader whether the machine has no Vulkan loader of its own
 * @returns whether there is one to offer
 */
export function offerSwiftShader(needsLoader: boolean): Promise<boolean> {
  offered ??= offer(needsLoader);
  return offered;
}
