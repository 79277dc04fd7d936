import { EngineError } from "../errors.ts";
import { NO_GGUF } from "../gguf.ts";
import { beginning, isPointer } from "./first-bytes.ts";

/** The error for what is a GGUF file. */
export const isGguf = (what: string): EngineError =>
  new EngineError("bad-weights", `${what} is a GGUF file, only safetensors files are read`, { hint: NO_GGUF });

/** The error for what lies in a file's place by mistake. */
export function foreign(name: string, bytes: Uint8Array): EngineError {
  if (isPointer(bytes)) {
    return new EngineError("bad-weights", `${name} is a Git LFS pointer, not the file itself`, {
      hint: "run `git lfs pull` in the repository that it was taken from, and load the model again",
    });
  }
  if (beginning(bytes).startsWith("GGUF")) return isGguf(name);
  return new EngineError("bad-weights", `${name} is an HTML page in place of the file`, {
    hint: "fetch the file again, from an address that gives the file itself and not its page",
  });
}
