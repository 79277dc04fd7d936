import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import type { Thread } from "./thread.ts";

/** Where the compiled scripts lie. Run from its sources, as tests do, the library takes those of the last build: threads know no TypeScript. */
export const BUILT = import.meta.url.endsWith(".ts") ? "../../dist/src/" : "../";

const script = (name: string) => new URL(BUILT + name, import.meta.url);

/** Node has no such class; Bun and Deno do. */
export const startModel = async (): Promise<globalThis.Worker> => new globalThis.Worker(script("worker-thread.js"), { type: "module" });

/** Starts the thread that decodes pictures. */
export const startDecoder = async (): Promise<Thread> => start("media/decode-thread.js", "internvl pictures");

/** Starts the thread that holds answers to grammars. */
export const startGrammars = async (): Promise<Thread> => start("text/grammar/thread.js", "internvl grammars");

function start(name: string, title: string): Thread {
  // The program's own flags are not for our scripts: with --input-type no thread starts.
  const worker = new Worker(script("platform/node-thread.js"), { workerData: script(name).href, name: title, execArgv: [] });
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(onMessage, onEnd) {
      worker.removeAllListeners();
      worker.on("message", onMessage);
      worker.on("error", onEnd);
      worker.on("exit", (code) => onEnd(new Error(`the thread ended with code ${code}`)));
    },
    hold: (on) => (on ? worker.ref() : worker.unref()),
    end: () => {
      worker.removeAllListeners();
      void worker.terminate();
    },
  };
}

let wasm: Promise<Uint8Array> | undefined;

/** The WebAssembly module of libjpeg-turbo. Its own script would fetch it, which Node does not do with files. */
export function jpegDecoder(): Promise<Uint8Array> {
  wasm ??= readFile(createRequire(import.meta.url).resolve("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm"));
  return wasm;
}
