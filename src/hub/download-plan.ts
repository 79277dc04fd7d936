import { EngineError } from "../errors.ts";
import { sizeText } from "../options.ts";
import type { CheckpointCache } from "./cache.ts";
import type { RemoteFile } from "./download-describe.ts";
import type { SourceProgress } from "./source-types.ts";

/** What is to be fetched, by name. */
export type Plan = Map<string, RemoteFile>;

const PARALLEL = 4; // downloads at once: one connection seldom fills the line, many annoy the server

/** Runs `work` on every item, some at a time. The first failure stops the others; it is thrown when all have ended. */
export async function inParallel<T>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const queue = [...items];
  const errors: unknown[] = [];
  async function run(): Promise<void> {
    for (let item = queue.shift(); item !== undefined && !stop.signal.aborted; item = queue.shift()) {
      try {
        await work(item, either);
      } catch (error) {
        errors.push(error);
        stop.abort(error);
      }
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, run));
  if (errors.length > 0) throw errors[0];
}

type Report = ((progress: SourceProgress) => void) | undefined;

/** Numbers that only grow, from transfers that may start over. */
export function progressOf(planned: Plan, onProgress: Report) {
  const loaded = new Map<string, number>();
  let reported = -1;
  return (file: string | undefined, bytes: number): void => {
    if (file !== undefined) loaded.set(file, Math.max(bytes, loaded.get(file) ?? 0));
    const sum = [...loaded.values()].reduce((a, b) => a + b, 0);
    if (sum === reported) return;
    reported = sum;
    const total = [...planned].reduce((all, [name, { size }]) => all + (size ?? loaded.get(name) ?? 0), 0);
    onProgress?.({ phase: "download", loaded: sum, total: Math.max(sum, total), ...(file === undefined ? {} : { file }) });
  };
}

/** How far the weights that came could be held to what the server said about them, where that is less than a checksum. */
function lessThanChecked(planned: Plan): string | undefined {
  const weights = [...planned].flatMap(([name, remote]) => (name.endsWith(".safetensors") ? [remote] : []));
  const files = weights.filter(({ sha256 }) => sha256 === undefined);
  if (files.length === 0) return undefined;
  const some = files.length === weights.length ? "" : `${files.length} of ${weights.length} files `;
  return files.some(({ size }) => size === undefined) ? `${some}not checked: the server tells no length` : `${some}checked by length only`;
}

/** Every file was hashed or measured as it came. */
export function reportChecks(planned: Plan, bytes: number, onProgress: Report): void {
  const note = lessThanChecked(planned);
  onProgress?.({ phase: "verify", loaded: bytes, total: bytes, ...(note ? { note } : {}) });
}

/** @throws EngineError limit-exceeded where the store has no room for what is planned */
export async function checkSpace({ store, title, place }: CheckpointCache, planned: Plan): Promise<void> {
  const space = await store.space();
  if (space === undefined) return;
  let needs = 0;
  for (const [name, remote] of planned) {
    const begun = await store.open(place(name, remote).partial); // what is here already takes no more space
    await begun?.close?.();
    needs += Math.max(0, (remote.size ?? 0) - (begun?.size ?? 0));
  }
  if (needs <= space) return;
  throw new EngineError(
    "limit-exceeded",
    `${title} needs ${sizeText(needs)} more in ${store.root}, which has room for ${sizeText(space)}`,
    { hint: store.remedy },
  );
}
