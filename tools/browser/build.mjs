// Builds dist/browser: what is published for browsers, with everything in it, so that no bundler has to understand more of it than import().
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, deflateRawSync } from "node:zlib";
import { rolldown } from "rolldown";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const source = (path) => join(root, "src", path);
const require = createRequire(join(root, "package.json"));

/** The entries of package.json "exports", by the name of their file. */
const ENTRIES = {
  internvl: source("index.ts"),
  "ai-sdk": source("ai-sdk.ts"),
  convert: source("convert.ts"),
  server: source("server.ts"),
  testing: source("testing.ts"),
  worker: source("api/worker.ts"),
  "worker-thread": source("worker-thread.ts"),
};

/** In a worker nobody asks for another: that leads to nothing. */
const NO_WORKER = { "./worker.ts": "export const InternVLWorker = undefined;", "model-parts": "export const modules = {};" };

const text = (value) => `export default ${JSON.stringify(value)};`;

/** Modules that are made here, by name. */
const made = (modules) => ({
  name: "made",
  resolveId: (id) => (id in modules ? id : undefined),
  load: (id) => modules[id],
});

/** The page's workers from scripts.js instead of from files. */
const scripts = {
  name: "scripts",
  resolveId: (id) => (id.endsWith("/web-scripts.ts") ? join(here, "scripts.js") : undefined),
};

/** What modules import at once, and what that imports, until nothing is left. */
function closure(context, ids, found = new Set()) {
  for (const id of ids) {
    if (found.has(id)) continue;
    found.add(id);
    closure(context, context.getModuleInfo(id).importedIds, found);
  }
  return found;
}

/**
 * Bundles some entries.
 *
 * @param modules made modules that they import
 * @param together lists of modules: those of a list, and all that they import, come in one file, unless an earlier list has them
 */
async function bundle(input, modules, together = {}) {
  const sets = {};
  const entries = new Set(Object.values(input));
  const collect = {
    name: "collect",
    buildEnd() {
      for (const [name, ids] of Object.entries(together)) sets[name] = closure(this, ids);
    },
  };
  const build = await rolldown({
    input,
    cwd: root,
    platform: "browser",
    tsconfig: false,
    resolve: { alias: { "#platform": source("platform/web.ts") } },
    plugins: [scripts, made(modules), collect],
    onLog(level, log) {
      if (log.code === "INEFFECTIVE_DYNAMIC_IMPORT") return; // of a file that comes with another
      throw new Error(`${level}: ${log.message}`); // an import that is not found would be left to the browser
    },
  });
  const groups = Object.keys(together).map((name, i) => ({
    name,
    priority: 100 - i,
    test: (id) => sets[name].has(id) && (!entries.has(id) || name === "main"),
  }));
  const { output } = await build.generate({
    format: "es",
    minify: true,
    entryFileNames: "[name].js",
    chunkFileNames: "[name].js",
    codeSplitting: groups.length > 0 ? { groups } : false,
  });
  await build.close();
  return output;
}

/** What GPUs with matrix units need besides: one file, so that it is asked for once. */
const matrix = { matrix: [source("gpu/language.ts"), source("ops/matrix/index.ts")] };

/** The model's worker as text, in parts that import each other by name: what answers a first question at once, and what comes when it is needed. */
async function modelParts(modules) {
  const worker = source("worker-thread.ts");
  const first = [worker, source("api/load.ts"), source("api/answer.ts"), source("api/decode-file.ts")];
  const chunks = await bundle({ main: worker }, { ...modules, ...NO_WORKER }, { main: first, ...matrix });
  const names = new Set(chunks.map(({ fileName }) => fileName));
  return chunks.map(({ fileName, code, imports }) => {
    const asking = code.replace(/\bimport\(["'`]\.\/([^"'`]+)["'`]\)/g, (whole, name) =>
      names.has(name) ? `internvlPart("${name}")` : whole,
    );
    if (/\bimport\(["'`]\./.test(asking)) throw new Error(`${fileName}: an import() that a worker without an address cannot do`);
    return { name: fileName, code: fileName === "main.js" ? readFileSync(join(here, "part.js"), "utf8") + asking : asking, imports };
  });
}

const [decode] = await bundle({ decode: source("media/decode-thread.ts") }, {});
const wasm = readFileSync(require.resolve("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm"));
const jpeg = deflateRawSync(wasm, { level: constants.Z_BEST_COMPRESSION }).toString("base64");
const shared = { "decode-script": text(decode.code), "jpeg-wasm": text(jpeg) };

const modules = { ...shared };
const load = {};
for (const { name, code, imports } of await modelParts(shared)) {
  const [id] = name.split(".js");
  // What pages without such a worker have too is not written twice.
  if (id in shared)
    load[name] = `import("${id}").then((text) => ({ code: "export default " + JSON.stringify(text.default), imports: [] }))`;
  else {
    modules[`part-${id}`] = `export const code = ${JSON.stringify(code)}, imports = ${JSON.stringify(imports)};`;
    load[name] = `import("part-${id}")`;
  }
}
const list = Object.entries(load).map(([name, load]) => `${JSON.stringify(name)}: () => ${load}`);
modules["model-parts"] = `export const modules = { ${list.join(", ")} };`;

// What places pictures is the page's too: the class behind `worker: true`, which comes where it is asked for, needs it, and nothing else of the core.
const page = { page: [source("index.ts"), source("api/placing.ts")], core: [source("api/load.ts"), source("api/answer.ts")], ...matrix };
const target = join(root, "dist/browser");
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
for (const { fileName, code } of await bundle(ENTRIES, modules, page)) writeFileSync(join(target, fileName), code);
