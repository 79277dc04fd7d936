import { parentPort, workerData } from "node:worker_threads";

// A thread's first script in Node: makes the thread look like a page's worker, then runs the script that `workerData` names.

const port = parentPort!;
Object.assign(globalThis, {
  postMessage: (message: unknown, transfer: ArrayBuffer[]) => port.postMessage(message, transfer),
  addEventListener: (_type: "message", listener: (event: { data: unknown }) => void) => port.on("message", (data) => listener({ data })),
});
await import(workerData as string);
