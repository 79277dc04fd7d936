import { platform } from "#platform";
import { EngineError } from "../errors.ts";
import type { Directory } from "../safetensors/index.ts";

/** Where a checkpoint's files come from: anything that opens files by name. */
export type WeightSource = Directory;

const isSource = (value: object): value is WeightSource => typeof (value as Partial<WeightSource>).open === "function";

/**
 * The files of a checkpoint folder.
 *
 * @throws EngineError bad-input where there is no such folder
 */
export async function openSource(source: string | WeightSource): Promise<WeightSource> {
  if (typeof source !== "string") {
    if (!isSource(source)) throw new EngineError("bad-input", "a weight source is a folder's path or an object with open(name)");
    return source;
  }
  if (!(await platform.isFolder(source))) {
    throw new EngineError("bad-input", `there is no folder ${JSON.stringify(source)}`, {
      hint: "give the folder that holds config.json and the safetensors files; see weights/README.md on getting one",
    });
  }
  return { open: (name) => platform.openFile(source, name) };
}

/** A whole small file of a source; `undefined` where there is none. */
export async function readSmall(source: WeightSource, name: string): Promise<Uint8Array | undefined> {
  const file = await source.open(name);
  if (!file) return undefined;
  try {
    return await file.read(0, file.size);
  } finally {
    await file.close?.();
  }
}
