import { createInterface } from "node:readline/promises";
import { cachedModels } from "../../src/api/cached-models.ts";
import { EngineError } from "../../src/errors.ts";
import { parseHubId } from "../../src/hub/hub-id.ts";
import { openSource, type SourceProgress } from "../../src/hub/source.ts";
import type { CachedModel } from "../../src/index.ts";
import { openCheckpoint } from "../../src/model/open-checkpoint.ts";
import { quoted } from "../../src/options.ts";
import { UsageError } from "./failures.ts";
import { revision } from "./flags.ts";
import { interrupted } from "./interrupt.ts";
import { loadProgress } from "./progress.ts";
import { clearStatus, terminal } from "./status.ts";

interface JsonFlag {
  json?: boolean;
}

const size = (bytes: number): string => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

const plain = ({ source, bytes, complete, damaged, revisions }: CachedModel) => ({
  source,
  bytes,
  complete,
  damaged: damaged ?? false,
  revisions,
});

/** `org/name@v1` as its two parts. @throws UsageError */
function named(given: string, wanted: string | undefined): { source: string; revision: string | undefined } {
  const at = given.lastIndexOf("@");
  const id = at > 0 ? parseHubId(given.slice(0, at)) : undefined;
  if (!id) return { source: given, revision: wanted };
  const own = revision(given.slice(at + 1));
  if (wanted !== undefined && wanted !== own) throw new UsageError(`${quoted(given)} and --revision ${wanted} name two revisions`);
  return { source: id, revision: own };
}

/** Downloads a checkpoint into the cache: nothing large before its configuration and headers say that it loads. */
export async function pull(given: string, flags: JsonFlag & { revision?: string }): Promise<void> {
  const { source, revision } = named(given, flags.revision);
  if (!/^https?:/i.test(source) && !parseHubId(source))
    throw new UsageError(`${quoted(source)} is neither org/name nor a URL: what is a folder already is not pulled`);
  const show = loadProgress(terminal);
  let came = false;
  const onProgress = (progress: SourceProgress): void => {
    came ||= progress.phase === "download";
    show(progress);
  };
  const opened = await openSource(source, { revision, signal: interrupted, onProgress });
  if (!opened.download) throw new UsageError(`${quoted(source)} is a folder here already: give it as --model`);
  const { files, config } = await openCheckpoint(opened, { signal: interrupted });
  await files.close();
  clearStatus();
  const found = (await cachedModels()).find((model) => model.source === source || model.source === `${source}/`);
  const report = {
    source,
    revision: revision ?? null,
    downloaded: came,
    bytes: found?.bytes ?? null,
    decoder: config.language.architecture,
  };
  const text = `${source}${revision ? ` at ${revision}` : ""}: ${came ? "downloaded" : "is here already"}${found ? `, ${size(found.bytes)}` : ""}`;
  process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : `${text}\n`);
}

const stateOf = ({ complete, damaged }: CachedModel): string => (damaged ? "damaged" : complete ? "" : "not whole");

/** Lists the checkpoints of the cache. */
export async function list(flags: JsonFlag): Promise<void> {
  const models = await cachedModels();
  if (flags.json) return void process.stdout.write(`${JSON.stringify({ models: models.map(plain) })}\n`);
  if (models.length === 0)
    return void process.stderr.write("the cache holds no checkpoint; internvl pull OpenGVLab/InternVL2_5-1B downloads one\n");
  const wide = Math.max(...models.map(({ source }) => source.length));
  for (const model of models) {
    const line = `${model.source.padEnd(wide)}  ${size(model.bytes).padStart(9)}  ${[model.revisions.join(", "), stateOf(model)].filter(Boolean).join("; ")}`;
    process.stdout.write(`${line.trimEnd()}\n`);
  }
  const [partial, damaged] = [models.some(({ complete, damaged }) => !complete && !damaged), models.some(({ damaged }) => damaged)];
  if (partial) process.stderr.write("not whole: internvl pull goes on with it\n");
  if (damaged) process.stderr.write("damaged: internvl rm deletes it, internvl pull fetches it anew\n");
}

async function agreed(models: readonly CachedModel[]): Promise<boolean> {
  const what = models.map(({ source, bytes }) => `${source} (${size(bytes)})`).join(", ");
  if (!process.stdin.isTTY) throw new UsageError(`nobody is there to ask: --yes deletes ${what}`);
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await asking.question(`delete ${what}? [y/N] `, { signal: interrupted })).trim());
  } finally {
    asking.close();
  }
}

/** Deletes checkpoints of the cache, once it is sure that all of them are there. */
export async function remove(given: string[], flags: JsonFlag & { yes?: boolean }): Promise<void> {
  const models = await cachedModels();
  const chosen = [...new Set(given)].map((name) => {
    const found = models.find(({ source }) => source === name || source === `${name}/`);
    if (found) return found;
    throw new EngineError("bad-input", `the cache holds no ${quoted(name)}`, {
      hint: models.length > 0 ? `it holds ${models.map(({ source }) => source).join(", ")}` : "it is empty",
    });
  });
  if (!flags.yes && !(await agreed(chosen))) {
    process.stderr.write("nothing was deleted\n");
    process.exitCode = 1;
    return;
  }
  for (const model of chosen) {
    await model.remove();
    if (!flags.json) process.stdout.write(`deleted ${model.source}, ${size(model.bytes)}\n`);
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ deleted: chosen.map(plain) })}\n`);
}
