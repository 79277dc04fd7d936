import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EngineError } from "../../src/errors.ts";
import { ADAPTERS, type FamilyName, familyOf, type Maker } from "./families.ts";

/** The folder of the C sources and limits.json, in the repository and in the package: this file runs from dist/, and from where it was written. */
export const HERE = fileURLToPath(new URL(".", import.meta.url)).replace(/dist[\\/](tools[\\/]gpu-compiler[\\/])$/, "$1");
const SOURCES = ["icd.c", "drm.c"];

/**
 * Mesa 25.0 is the last whose AMD driver compiles without a GPU; the newest that Debian has brings NVIDIA's and Apple's. Each is unpacked with the
 * C library that it was built for, and installed nowhere.
 */
const MESAS = {
  "25.0": { suites: ["bookworm", "bookworm-backports"], packages: ["mesa-vulkan-drivers", "libvulkan1"] },
  newer: { suites: ["trixie", "trixie-backports"], packages: ["mesa-vulkan-drivers", "libvulkan1"] },
} as const;
type Mesa = keyof typeof MESAS;
const MESA_OF: Readonly<Record<Maker, Mesa>> = { AMD: "25.0", Intel: "25.0", NVIDIA: "newer", Apple: "newer" };

/** How a program of Node is run on null hardware: a command that goes before it, and its environment. */
export interface NullHardware {
  command: string[];
  env: Record<string, string>;
}

const LIBRARIES = "usr/lib/x86_64-linux-gnu";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

const cacheFolder = (): string => join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "internvl-webgpu", "gpu-compiler");

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The first of some programs that is installed. */
async function installed(...names: string[]): Promise<string | undefined> {
  for (const name of names)
    for (const folder of (process.env.PATH ?? "").split(delimiter))
      if (
        folder &&
        (await access(join(folder, name), constants.X_OK).then(
          () => true,
          () => false,
        ))
      )
        return join(folder, name);
  return undefined;
}

/** Runs a program to its end. @returns its exit code and the end of what it printed */
async function run(program: string, args: readonly string[], cwd?: string): Promise<{ code: number | null; output: string }> {
  const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, LC_ALL: "C" } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output = (output + data).slice(-4000)));
  const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  return { code, output };
}

const missing = (message: string, hint: string): EngineError => new EngineError("missing-feature", message, { hint });

/** @throws EngineError missing-feature where GPUs' compilers do not run at all */
export function checkSystem(platform: string = process.platform, arch: string = process.arch): void {
  if (platform === "linux" && arch === "x64") return;
  throw missing(
    `GPUs' compilers run on Linux x64, this is ${platform} ${arch}`,
    "use such a machine, or a container: docker run --platform linux/amd64 node:22-bookworm",
  );
}

/** Fills a folder that appears whole or not at all, and is taken as it is where it is there. */
async function once(target: string, fill: (folder: string) => Promise<void>): Promise<void> {
  if (await exists(target)) return;
  await mkdir(dirname(target), { recursive: true });
  const partial = await mkdtemp(`${target}.partial-`);
  try {
    await chmod(partial, 0o755);
    await fill(partial);
    await rename(partial, target).catch(async (error: unknown) => {
      if (!(await exists(target))) throw error; // else another process was as fast
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/** Debian's mirror, as this machine has it. @throws EngineError missing-feature */
async function mirror(): Promise<string> {
  const path = "/etc/apt/sources.list.d/debian.sources";
  const found = /^URIs:\s*(\S+)/m.exec(await readFile(path, "utf8").catch(() => ""))?.[1];
  if (found) return found;
  throw missing(
    `no mirror of Debian's is known: ${path} has no line that begins with URIs:`,
    "run it on Debian 12, or write the mirror there",
  );
}

/**
 * Downloads Debian packages with everything that they need, and unpacks them into a folder. Needs no rights: apt's lists, state and cache lie in a
 * temporary folder. Packages are checked by Debian's own keys.
 *
 * @throws EngineError missing-feature, network
 */
async function unpack(
  what: string,
  suites: readonly string[],
  packages: readonly string[],
  folder: string,
  dependencies: boolean,
): Promise<void> {
  const [apt, dpkg] = [await installed("apt-get"), await installed("dpkg-deb")];
  if (!apt || !dpkg)
    throw missing(
      `${what} is fetched from Debian, and there is no apt-get here`,
      "use Debian or Ubuntu, or a container: docker run node:22-bookworm",
    );
  if (!(await exists(KEYRING)))
    throw missing(`${what} is fetched from Debian, and ${KEYRING} is missing`, "apt-get install debian-archive-keyring");
  const state = join(folder, "apt");
  for (const path of ["lists/partial", "cache/archives/partial"]) await mkdir(join(state, path), { recursive: true });
  await writeFile(join(state, "status"), "");
  const from = await mirror();
  await writeFile(join(state, "own.list"), suites.map((suite) => `deb [arch=amd64 signed-by=${KEYRING}] ${from} ${suite} main\n`).join(""));
  const options = Object.entries({
    "Dir::State": state,
    "Dir::State::Lists": join(state, "lists"),
    "Dir::State::status": join(state, "status"),
    "Dir::Cache": join(state, "cache"),
    "Dir::Etc::SourceList": join(state, "own.list"),
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::Etc::Preferences": "/dev/null",
    "Dir::Etc::PreferencesParts": "/dev/null",
    "APT::Sandbox::User": process.getuid?.() === 0 ? "root" : "",
    "APT::Architecture": "amd64",
  }).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  const download = dependencies
    ? ["install", "--download-only", "-y", "--no-install-recommends", "-t", suites.at(-1)!, ...packages]
    : ["download", ...packages];
  const archives = join(state, "cache/archives");
  for (const step of [["update"], download]) {
    const { code, output } = await run(apt, ["-q", ...options, ...step], archives);
    const failed = code !== 0 || /^(W|E): Failed to fetch/m.test(output);
    if (failed) {
      const why =
        output
          .trim()
          .split("\n")
          .findLast((line) => /^[EW]:/.test(line)) ?? `apt-get ended with ${code}`;
      throw new EngineError("network", `${what} could not be fetched from ${from}: ${why}`, {
        hint: "check the connection to Debian's mirror, then try again",
      });
    }
  }
  for (const name of await readdir(archives)) {
    if (!name.endsWith(".deb")) continue;
    const { code, output } = await run(dpkg, ["-x", join(archives, name), folder]);
    if (code !== 0)
      throw new EngineError("network", `${name} could not be unpacked: ${output.trim()}`, { hint: "free some space, then try again" });
  }
  await rm(state, { recursive: true });
}

/** Whether this machine's own Mesa is of that version, so that nothing need be fetched. */
async function hasMesa(version: string): Promise<boolean> {
  if (!(await exists(`/${LIBRARIES}/libvulkan_radeon.so`)) || !(await exists(`/${LIBRARIES}/libvulkan.so.1`))) return false;
  const query = await installed("dpkg-query");
  if (!query) return false;
  const { output } = await run(query, ["-s", "mesa-vulkan-drivers"]);
  return output.includes(`\nVersion: ${version}.`);
}

/** The command that runs Node with a Mesa. */
async function withMesa(mesa: Mesa, cache: string, tell: (text: string) => void): Promise<string[]> {
  if (mesa !== "newer" && (await hasMesa(mesa))) return [process.execPath];
  const folder = join(cache, `mesa-${mesa}`);
  await once(folder, async (partial) => {
    tell(`fetching Mesa ${mesa === "newer" ? "as new as Debian has it" : mesa} (about 60 MB) into ${folder}, once`);
    const { suites, packages } = MESAS[mesa];
    await unpack("Mesa", suites, packages, partial, true);
  });
  const loader = [
    "lib64/ld-linux-x86-64.so.2",
    "usr/lib64/ld-linux-x86-64.so.2",
    `${LIBRARIES}/ld-linux-x86-64.so.2`,
    "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
  ];
  for (const path of loader) {
    if (!(await exists(join(folder, path)))) continue;
    const libraries = [LIBRARIES, "lib/x86_64-linux-gnu"].map((each) => join(folder, each)).join(":");
    return [join(folder, path), "--library-path", libraries, process.execPath];
  }
  throw new EngineError("network", `${folder} is not a whole Mesa`, { hint: "remove it, then try again" });
}

/** Where Vulkan's headers are: installed, or fetched. */
async function headers(cache: string): Promise<string[]> {
  if (await exists("/usr/include/vulkan/vulkan.h")) return [];
  const folder = join(cache, "headers");
  await once(folder, (partial) => unpack("libvulkan-dev (Vulkan's headers)", ["bookworm"], ["libvulkan-dev"], partial, false));
  return [`-I${join(folder, "usr/include")}`];
}

/** Compiles the driver of null hardware, where its sources have changed or it was never compiled. @returns its folder */
async function build(cache: string): Promise<string> {
  const hash = createHash("sha256");
  for (const source of SOURCES) hash.update(await readFile(join(HERE, source)));
  const folder = join(cache, `driver-${hash.digest("hex").slice(0, 16)}`);
  await once(folder, async (partial) => {
    const compiler = await installed("gcc", "cc", "clang");
    if (!compiler)
      throw missing(
        "the driver of null hardware is compiled on first use, and there is no C compiler here",
        "apt-get install gcc libc6-dev (as root), or ask whoever keeps the machine",
      );
    const args = [
      "-Wall",
      "-O1",
      "-shared",
      "-fPIC",
      ...(await headers(cache)),
      "-o",
      join(partial, "null-hardware.so"),
      ...SOURCES.map((source) => join(HERE, source)),
      "-ldl",
    ];
    const { code, output } = await run(compiler, args);
    if (code !== 0)
      throw missing(
        `the driver of null hardware does not compile: ${output.trim().split("\n").slice(0, 3).join(" ")}`,
        "apt-get install gcc libc6-dev (as root)",
      );
    const icd = { file_format_version: "1.0.0", ICD: { library_path: join(folder, "null-hardware.so"), api_version: "1.4.305" } };
    await writeFile(join(partial, "icd.json"), JSON.stringify(icd));
  });
  return folder;
}

/**
 * Makes a family's compiler ready: on first use it is built and fetched into the user's cache folder.
 *
 * @param tell hears what takes long
 * @throws EngineError missing-feature, network
 */
export async function nullHardware(family: FamilyName, tell: (text: string) => void): Promise<NullHardware> {
  checkSystem();
  const cache = cacheFolder();
  const { maker } = familyOf(family);
  const folder = await build(cache);
  return {
    command: await withMesa(MESA_OF[maker], cache, tell),
    env: {
      RADV_FORCE_FAMILY: family,
      RADV_DEBUG: "nocache",
      MESA_SHADER_CACHE_DISABLE: "true",
      NVK_I_WANT_A_BROKEN_VULKAN_DRIVER: "1",
      VK_DRIVER_FILES: join(folder, "icd.json"),
      INTERNVL_ADAPTER: ADAPTERS[maker],
    },
  };
}
