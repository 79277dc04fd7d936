import type { Thread } from "./thread.ts";

/** Starts the thread that decodes pictures. @throws where the page may not start workers */
export function startDecoder(): Thread {
  const worker = new Worker(new URL("../media/decode-thread.ts", import.meta.url), { type: "module", name: "internvl pictures" });
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
