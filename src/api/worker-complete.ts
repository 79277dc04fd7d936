import { abortedBy } from "../errors.ts";
import { leaving } from "./aborting.ts";
import type { ChatCompletion, ChatCompletionChunk } from "./openai-types.ts";
import type { Response } from "./worker-protocol.ts";

type Chunks = AsyncGenerator<ChatCompletionChunk, void, void>;

/**
 * A completion that runs in the worker. Where it is streamed, the promise is kept with its chunks when it was let in there.
 *
 * @param request sends it, and calls back with what comes of it
 */
export function completion(
  request: (signal: AbortSignal, onMessage: (message: Response) => void) => Promise<unknown>,
  signal: AbortSignal | undefined,
): Promise<ChatCompletion | Chunks> {
  const { abort, leave } = abortedBy(signal);
  const come: ChatCompletionChunk[] = [];
  let wake = () => {};
  let ended = false;

  return new Promise((resolve, reject) => {
    const running = request(abort.signal, (message) => {
      if (message.type === "begun") resolve(leaving(chunks(), () => abort.abort()));
      if (message.type !== "chunk") return;
      come.push(message.chunk);
      wake();
    });
    const settled = running.finally(() => {
      leave();
      ended = true;
      wake();
    });
    settled.then((answer) => resolve(answer as ChatCompletion), reject); // a second one, behind `begun`, does nothing

    async function* chunks(): Chunks {
      while (true) {
        while (come.length > 0) {
          if (abort.signal.aborted) await settled; // throws, unless the answer had ended before
          yield come.shift()!;
        }
        if (ended) break;
        await new Promise<void>((next) => {
          wake = next;
        });
      }
      await settled; // a failure is thrown here
    }
  });
}
