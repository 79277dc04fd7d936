import { late } from "../errors.ts";
import type { CachedModel } from "../hub/cached.ts";
import type { HubOptions } from "../hub/source.ts";
import { readOptions, text } from "../options.ts";

/**
 * The checkpoints that downloads have left: in a page those of the site's private file system, in Node those of Hugging Face's cache.
 *
 * @param options `cacheDir`: where they are kept, as for `InternVL.load`
 * @throws EngineError bad-input, missing-feature where a browser keeps no files for the page
 *
 * @example
 * ```ts
 * for (const model of await cachedModels()) console.log(model.source, model.bytes, model.complete);
 * ```
 */
export async function cachedModels(options?: Pick<HubOptions, "cacheDir">): Promise<CachedModel[]> {
  const { cacheDir } = readOptions("cachedModels", options, { cacheDir: text });
  return (await late("what lists downloads", import("../hub/cached.ts"))).listCached(cacheDir);
}
