import type { Thread } from "./thread.ts";
import { decodeWorker } from "./web-scripts.ts";

/** Starts the thread that decodes pictures. @throws where the page may not start workers */
export async function startDecoder(): Promise<Thread> {
  const worker = await decodeWorker();
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(onMessage, onEnd) {
      worker.onmessage = ({ data }) => onMessage(data);
      worker.onerror = (event) => {
        event.preventDefault(); // the caller hears of it
        onEnd(new Error(event.message || "the worker's script did not load"));
      };
    },
    hold: () => {},
    end: () => worker.terminate(),
  };
}
