import { failureOf } from "./failure.ts";

const HEADERS = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no" };

/**
 * Chunks as server-sent events, each made when the client has room for it. An error becomes the last event.
 *
 * @param ended is called once, however it ends
 * @param abort frees what is under way: the client has gone
 */
export function eventStream(
  chunks: AsyncGenerator<unknown, void, void>,
  { signal, abort, ended }: { signal: AbortSignal; abort: () => void; ended: () => void },
): Response {
  const encoder = new TextEncoder();
  const event = (data: string) => encoder.encode(`data: ${data}\n\n`);
  const body = new ReadableStream<Uint8Array>(
    {
      // Whoever does not read to the end in time is cut off: what is left of his answer must not be kept for good.
      start: (controller) => signal.addEventListener("abort", () => setTimeout(() => closed(() => controller.error(signal.reason)), 1000)),
      async pull(controller) {
        try {
          const { done, value } = await chunks.next();
          controller.enqueue(event(done ? "[DONE]" : JSON.stringify(value)));
          if (!done) return;
        } catch (error) {
          closed(() => controller.enqueue(event(JSON.stringify(failureOf(signal.reason instanceof Error ? signal.reason : error).body))));
        }
        closed(() => controller.close());
        ended();
      },
      cancel() {
        abort();
        ended();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: HEADERS });
}

/** Does something to a stream that may be closed already. */
function closed(act: () => void): void {
  try {
    act();
  } catch {}
}
