import { EngineError } from "../errors.ts";
import { ATTEMPTS, backOff } from "./download-http.ts";
import { type Download, type DownloadContext, Interruption, Transfer } from "./download-transfer.ts";

/** A silence has cost as much time as this many refusals. */
const SILENCE = 3;

/**
 * Fetches a file into the store: resumes what an earlier run left, repeats what fails in passing, checks length and hash, and only then
 * gives the file its name. On failure a resumable part stays behind, or nothing.
 *
 * @throws EngineError network, limit-exceeded (the disk is full), aborted
 */
export async function download(file: Download, context: DownloadContext): Promise<void> {
  const { transport, signal } = context;
  const transfer = new Transfer(file, context);
  let failures = 0;
  let restarts = 0;
  let most = 0; // progress is what has never been here before
  try {
    await transfer.open();
    for (;;) {
      signal?.throwIfAborted();
      try {
        if (!transfer.isComplete) await transfer.attempt(failures);
        transfer.check();
        break;
      } catch (error) {
        if (!(error instanceof Interruption)) throw error;
        if (transfer.have > most) failures = 0;
        most = Math.max(most, transfer.have);
        const { wait, restart, silent } = error.how;
        if (restart) {
          restarts++;
          await transfer.restart(); // also when this was the last try: nothing wrong may stay behind
        }
        failures += silent ? SILENCE : 1;
        if (failures >= ATTEMPTS || restarts > 2) throw error.cause;
        if (!restart) await transport.sleep(wait ?? backOff(failures, transport.random)!, signal);
      }
    }
    await transfer.finish();
  } catch (error) {
    await transfer.abandon();
    if (!signal?.aborted) throw error;
    const hint = "start it again: it goes on where it stopped";
    throw new EngineError("aborted", `the download of ${file.name} was stopped at byte ${transfer.have}`, { hint, cause: error });
  }
}
