import { MessageChannel } from "node:worker_threads";
import { expect, it } from "vitest";
import { InternVLWorker } from "../../src/api/worker.ts";
import { serveModel } from "../../src/api/worker-host.ts";
import type { Port } from "../../src/api/worker-protocol.ts";
import { EngineError } from "../../src/index.ts";
import { pathOf } from "./pictures.ts";
import { TRIANGLE } from "./server.ts";

/** A worker in this process: what goes over to it is cloned as between threads. */
export function inProcessWorker(): Worker {
  const { port1, port2 } = new MessageChannel();
  serveModel(port2 as unknown as Port);
  port2.on("message", () => {}); // starts it
  port1.on("message", () => {});
  return Object.assign(port1, { terminate: () => port1.close() }) as unknown as Worker;
}

/** `complete` through the worker's protocol. */
export function workerSuite(): void {
  it("answers whole and in chunks, tells errors with their parameter, and frees what is left", async () => {
    const vlm = await InternVLWorker.load(pathOf("weights/nano"), { slots: 1, worker: inProcessWorker() });
    const whole = await vlm.complete({ ...TRIANGLE, stream: false });
    expect(whole.choices[0]!.message.content).toBe("A triangle.");
    let text = "";
    for await (const { choices } of await vlm.complete({ ...TRIANGLE, stream: true })) text += choices[0]?.delta.content ?? "";
    expect(text).toBe("A triangle.");
    const wrong = await vlm.complete({ ...TRIANGLE, temperature: 9 }).catch((error: unknown) => error);
    expect(wrong).toBeInstanceOf(EngineError);
    expect(wrong).toMatchObject({ code: "bad-input", param: "temperature" });
    const refused = await vlm.complete({ ...TRIANGLE, stream: true, n: 0 }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "bad-input", param: "n" });
    const unknown = await vlm.complete({ ...TRIANGLE }, { maxPixel: 5 } as never).catch((error: unknown) => error);
    expect(unknown).toMatchObject({ code: "bad-input", param: "maxPixel" });
    const small = await vlm.complete({ ...TRIANGLE }, { maxPixels: 5 }).catch((error: unknown) => error);
    expect(small).toMatchObject({ code: "bad-image" });

    // One slot: what comes behind a long answer is answered only once that is left.
    const long = {
      messages: [{ role: "user" as const, content: "Count." }],
      temperature: 2,
      seed: 4,
      max_tokens: 1500,
      stream: true as const,
    };
    for await (const { choices } of await vlm.complete(long)) if (choices[0]?.delta.content) break;
    const abort = new AbortController();
    const left = await vlm.complete(long, { signal: abort.signal });
    const ended = (async () => {
      for await (const _ of left) abort.abort();
    })().catch((error: unknown) => error);
    expect(await ended).toMatchObject({ code: "aborted" });
    expect((await vlm.complete(TRIANGLE)).choices[0]!.message.content).toBe("A triangle.");
    await vlm.dispose();
    await expect(vlm.complete(TRIANGLE)).rejects.toMatchObject({ code: "disposed" });
  });
}
