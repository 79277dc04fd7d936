import { badWeights } from "../errors.ts";
import type { ByteSource } from "../safetensors/types.ts";

/** A `File` or `Blob`, read piece by piece. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length, signal) {
      signal?.throwIfAborted();
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        // A dropped file that was changed or moved since: the browser says no more than NotReadableError.
        const hint = "the file was changed or moved: choose it again";
        throw badWeights(`cannot read ${name} at byte ${offset}: ${(cause as Error).message}`, hint, cause);
      }
    },
  };
}
