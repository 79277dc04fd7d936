import { platform } from "#platform";
import { aborted, onAbort, throwIfAborted } from "../errors.ts";
import type { Thread } from "../platform/thread.ts";
import type { DecodeAnswer, DecodeJob } from "./decode-thread.ts";
import { badImage, type RgbImage } from "./image.ts";

/** Pictures above this end the thread that decoded them: only so does the memory of its decoder go back at once. */
const KEPT_PIXELS = 32_000_000;

let idle: Thread | undefined;
/** Set once no thread could be started: a page's rules may forbid it. */
let without = false;
/** Pictures are decoded one after the other, so that a batch of large ones needs the memory of one. */
let queue: Promise<unknown> = Promise.resolve();

/**
 * Decodes a picture off the calling thread. `undefined` where no thread can be started.
 * @throws EngineError bad-image, aborted
 */
export function decodeInThread(
  job: Omit<DecodeJob, "wasm">,
  pixels: number,
  signal: AbortSignal | undefined,
): Promise<RgbImage | undefined> {
  const answer = queue.then(() => run(job, pixels, signal));
  queue = answer.catch(() => {});
  return unlessAborted(answer, signal);
}

/** Does not wait for its turn to hear of an abort. */
function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return answer;
  return new Promise((resolve, reject) => {
    const leave = onAbort(signal, () => reject(aborted(signal.reason)));
    answer.then(resolve, reject).finally(leave);
  });
}

async function run(job: Omit<DecodeJob, "wasm">, pixels: number, signal: AbortSignal | undefined): Promise<RgbImage | undefined> {
  throwIfAborted(signal);
  const wasm = job.format === "jpeg" ? await platform.jpegDecoder() : undefined;
  const thread = idle ?? (await start());
  idle = undefined;
  if (!thread) return undefined;
  thread.hold(true);
  let kept = false;
  try {
    const answer = await unlessAborted(ask(thread, { ...job, wasm }), signal);
    kept = pixels <= KEPT_PIXELS;
    if ("image" in answer) return answer.image;
    if ("error" in answer) throw badImage(answer.error.message, answer.error.hint ?? "");
    throw badImage("the picture's decoder gave no answer", "Try again.");
  } finally {
    if (kept) {
      thread.hold(false);
      idle = thread;
    } else thread.end();
  }
}

/** A thread that has said that it is there. */
async function start(): Promise<Thread | undefined> {
  if (without) return undefined;
  let thread: Thread | undefined;
  try {
    thread = await platform.startDecoder();
    await next(thread);
    return thread;
  } catch (cause) {
    thread?.end();
    without = true;
    console.warn(
      `internvl: large pictures are decoded on this thread and more slowly, since no worker can be started for them: ${(cause as Error).message}`,
    );
    return undefined;
  }
}

const next = (thread: Thread): Promise<DecodeAnswer> =>
  new Promise((resolve, reject) => thread.listen((message) => resolve(message as DecodeAnswer), reject));

async function ask(thread: Thread, job: DecodeJob): Promise<DecodeAnswer> {
  const answer = next(thread);
  const bytes = job.bytes.slice(); // the caller keeps its own, and a view takes no more along than it shows
  thread.post({ ...job, bytes }, [bytes.buffer as ArrayBuffer]);
  return answer.catch((cause) => {
    throw badImage(
      `the picture cannot be decoded: ${(cause as Error).message}`,
      "It may need more memory than there is: scale it down.",
      cause,
    );
  });
}
