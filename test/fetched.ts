import { openSource, type SourceLike, type StagedSource } from "../src/weights/source.ts";
import type { RemoteOptions } from "../src/weights/source-remote.ts";

/** A source with everything that `InternVL.load` brings from a server. */
export async function fetchSource(source: SourceLike, options?: RemoteOptions): Promise<StagedSource> {
  const opened = await openSource(source, options);
  await opened.download?.();
  return opened;
}
