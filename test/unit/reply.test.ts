import { describe, expect, it } from "vitest";
import { ChatReply, type ChatResult } from "../../src/api/reply.ts";
import { completion } from "../../src/api/worker-complete.ts";
import type { Response } from "../../src/api/worker-protocol.ts";
import { aborted } from "../../src/errors.ts";

/** What hands out pieces while an answer is under way: a chat's reply, and a completion's chunks in a page whose model is in a worker. */
const KINDS = {
  /** An answer that has said all its pieces at once, and ends only when `end` is called or it is aborted. */
  "a reply": async (pieces: string[], abort: AbortController) => {
    let end!: () => void;
    const reply = new ChatReply(abort, async (emit) => {
      for (const piece of pieces) emit(piece);
      await new Promise<void>((resolve, reject) => {
        end = resolve;
        abort.signal.addEventListener("abort", () => reject(aborted(abort.signal.reason)));
      });
      return { text: pieces.join("") } as ChatResult;
    });
    return { read: () => reply[Symbol.asyncIterator]() as AsyncGenerator<unknown>, end: () => end(), aborts: () => abort.signal.aborted };
  },
  "a worker's completion": async (pieces: string[], given: AbortController) => {
    let end!: () => void;
    let heard = false;
    const chunks = await completion(async (signal, onMessage) => {
      onMessage({ id: 1, type: "begun" });
      for (const chunk of pieces) onMessage({ id: 1, type: "chunk", chunk } as unknown as Response);
      await new Promise<void>((resolve, reject) => {
        end = resolve;
        signal.addEventListener("abort", () => {
          heard = true;
          reject(aborted(signal.reason));
        });
      });
    }, given.signal);
    return { read: () => chunks as unknown as AsyncGenerator<unknown>, end: () => end(), aborts: () => heard };
  },
};

describe.each(Object.entries(KINDS))("pieces of %s", (_, begin) => {
  it("after an abort none comes, also of those that had come", async () => {
    const abort = new AbortController();
    const read = (await begin(["a", "b", "c"], abort)).read();
    expect(await read.next()).toEqual({ done: false, value: "a" });
    abort.abort();
    await expect(read.next()).rejects.toMatchObject({ name: "AbortError", code: "aborted" });
    expect(await read.next()).toEqual({ done: true, value: undefined });
  });

  it("all come where the abort is later than the end", async () => {
    const abort = new AbortController();
    const answer = await begin(["a", "b", "c"], abort);
    answer.end();
    await new Promise(setImmediate); // it has ended
    abort.abort();
    const read: unknown[] = [];
    for await (const piece of answer.read()) read.push(piece);
    expect(read).toEqual(["a", "b", "c"]);
  });

  it.each([
    ["return", [undefined]],
    ["throw", [new Error("the reader's own")]],
  ] as const)("leaving by %s aborts, also before the first piece is read, and while one is awaited", async (way, [given]) => {
    for (const pieces of [["a", "b"], []]) {
      for (const reads of [0, 1]) {
        const answer = await begin(pieces, new AbortController());
        const read = answer.read();
        const reading = reads > 0 ? read.next().catch((error: unknown) => error) : undefined;
        if (pieces.length > 0) await reading;
        const left = way === "throw" ? read.throw(given).catch((error: unknown) => error) : read.return(given);
        expect(answer.aborts()).toBe(true); // at once
        expect(await left).toEqual(way === "throw" ? given : { done: true, value: undefined });
        if (reads > 0 && pieces.length === 0) expect(await reading).toMatchObject({ code: "aborted" });
      }
    }
  });
});
