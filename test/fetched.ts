import { openSource, type SourceLike, type StagedSource } from "../src/hub/source.ts";
import type { RemoteOptions } from "../src/hub/source-remote.ts";

/** A source with everything that `InternVL.load` brings from a server. */
export async function fetchSource(source: SourceLike, options?: RemoteOptions): Promise<StagedSource> {
  const opened = await openSource(source, options);
  await opened.download?.();
  return opened;
}
