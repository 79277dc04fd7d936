import { platform } from "#platform";
import { EngineError, late } from "../errors.ts";
import { quoted, quotedPath } from "../options.ts";
import { otherScheme } from "../platform/fetch.ts";
import { isGguf } from "./foreign-errors.ts";
import { parseHubId } from "./hub-id.ts";
import type { RemoteOptions } from "./source-remote.ts";
import { ADAPTER_FILES, type StagedSource } from "./source-types.ts";

/** An adapter's folder, for hints. */
export const PEFT = "the folder that peft's save_pretrained wrote: adapter_config.json and adapter_model.safetensors";

function noFolder(path: string, kind: "file" | "nothing", adapter: boolean): EngineError {
  const what = adapter ? "an adapter's folder" : "a model's folder";
  const scheme = otherScheme(path);
  const problem =
    scheme !== undefined
      ? `${quotedPath(path)}: addresses with ${quoted(scheme)} cannot be read here`
      : kind === "file"
        ? `${quotedPath(path)} is a file, needs to be ${what}`
        : `${platform.hasSystem ? "there is no folder" : "a page cannot read the local folder"} ${quotedPath(path)}`;
  const folder = adapter ? PEFT : "the folder that holds config.json and the safetensors files";
  const where = platform.hasSystem ? folder : "the whole address of a folder on a server, new URL(path, location.href)";
  const id = adapter ? "the Hugging Face id of one" : "a Hugging Face id such as OpenGVLab/InternVL2_5-1B, which is downloaded";
  return new EngineError("bad-input", problem, { hint: `give ${where}, or ${id}` });
}

/** Opens what a path, an address or an id names; `ranges`: without a copy, and of a server only what is read. @throws EngineError as `openSource` */
export async function openNamed(source: string, options: RemoteOptions, ranges: boolean): Promise<StagedSource> {
  const remote = () => late("what downloads models", import("./source-remote.ts"));
  const adapter = options.names === ADAPTER_FILES;
  if (/^https?:/i.test(source)) {
    if (/\.gguf([?#]|$)/i.test(source)) throw isGguf(quotedPath(source));
    const { openUrl, openUrlRanges } = await remote();
    return ranges ? openUrlRanges(source, options) : openUrl(source, options);
  }
  const path = /^file:/i.test(source) ? platform.pathOfUrl(source) : source;
  for (const folder of new Set([path, platform.expandHome(path)])) {
    const kind = await platform.pathKind(folder);
    if (kind === "folder") {
      const list = async () => (await (await platform.openStore("out", folder)).list("")).map(({ name }) => name);
      return { open: (name) => platform.openFile(folder, name), list };
    }
    if (kind === "file") throw /\.gguf$/i.test(folder) ? isGguf(quotedPath(folder)) : noFolder(folder, kind, adapter);
  }
  const id = parseHubId(path);
  if (!id) throw noFolder(path, "nothing", adapter);
  if (/[.-]gguf$/i.test(path)) throw isGguf(`what ${quotedPath(path)} holds`);
  const { openHub, openHubRanges } = await remote();
  return ranges ? openHubRanges(id, options) : openHub(id, options);
}
