import { badWeights, type EngineError } from "../errors.ts";
import { NO_GGUF } from "../gguf.ts";
import { beginning, isPointer } from "./first-bytes.ts";

/** The error for what is a GGUF file. */
export const isGguf = (what: string): EngineError => badWeights(`${what} is a GGUF file, only safetensors files are read`, NO_GGUF);

/** The error for what lies in a file's place by mistake. */
export function foreign(name: string, bytes: Uint8Array): EngineError {
  if (isPointer(bytes)) {
    const hint = "run `git lfs pull` in the repository that it was taken from, and load the model again";
    return badWeights(`${name} is a Git LFS pointer, not the file itself`, hint);
  }
  if (beginning(bytes).startsWith("GGUF")) return isGguf(name);
  const hint = "fetch the file again, from an address that gives the file itself and not its page";
  return badWeights(`${name} is an HTML page in place of the file`, hint);
}
