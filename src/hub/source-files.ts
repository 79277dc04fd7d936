import { badWeights } from "../errors.ts";
import { blobSource } from "../platform/blob-source.ts";
import type { WeightSource } from "./source-types.ts";

/** How deep in the chosen folder a file lies; a browser tells it of `<input webkitdirectory>`. */
const depthOf = (file: File): number => (file.webkitRelativePath ?? "").split("/").length;

/** Files that a user has dropped or chosen. Of two with one name the one nearer to the chosen folder counts. */
export function filesSource(files: readonly File[]): WeightSource {
  const byName = new Map<string, File>();
  for (const file of files) {
    const other = byName.get(file.name);
    if (!other || depthOf(file) < depthOf(other)) byName.set(file.name, file);
  }
  return {
    list: async () => [...byName.keys()],
    open: async (name) => {
      const file = byName.get(name);
      return file && blobSource(name, file);
    },
  };
}

/** A folder that a user has opened with `showDirectoryPicker`, or one of the browser's private file system. */
export function directorySource(folder: FileSystemDirectoryHandle): WeightSource {
  return {
    async list() {
      const names: string[] = [];
      for await (const name of folder.keys()) names.push(name);
      return names;
    },
    async open(name) {
      try {
        return blobSource(name, await (await folder.getFileHandle(name)).getFile());
      } catch (cause) {
        if ((cause as Error).name === "NotFoundError") return undefined;
        const hint = "choose the folder again";
        throw badWeights(`cannot open ${JSON.stringify(name)} in the chosen folder: ${(cause as Error).message}`, hint, cause);
      }
    },
  };
}
