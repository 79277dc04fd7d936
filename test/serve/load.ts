import { connect } from "node:net";
import { expect, it } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { about, chunksOf, type Running, TRIANGLE } from "./server.ts";

/** Requests whose greedy answers are recorded. */
const ASKED = [
  ["What shape is it?", "card-1", "A triangle."],
  ["What color is the triangle?", "card-1", "Red."],
  ["Please describe the image shortly.", "card-2", "A yellow circle."],
  ["Which shape is yellow?", "card-2", "A circle."],
  ["Please describe the image shortly.", "card-3", "A yellow cross."],
  ["Please describe the image shortly.", "card-5", "A purple triangle to the left of an orange cross."],
] as const;

/** The same numbers every time, in [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const percentile = (values: number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))]!;

export interface LoadResult {
  requests: number;
  errors: string[];
  tokens: number;
  seconds: number;
  ttft: number[];
}

/** `clients` at once, each asking until there are no requests left; some slowly read, some hang up, some send nonsense. */
export async function underLoad({ post }: Running, clients: number, requests: number, { odd = true, every = 0 } = {}): Promise<LoadResult> {
  const next = random(clients * 1000 + requests);
  const result: LoadResult = { requests: 0, errors: [], tokens: 0, seconds: 0, ttft: [] };
  const began = performance.now();
  const one = async (i: number): Promise<void> => {
    const [question, card, expected] = ASKED[i % ASKED.length]!;
    const body = {
      ...TRIANGLE,
      messages: [about(question, card)],
      stream: i % 3 > 0,
      stream_options: i % 3 > 0 ? { include_usage: true } : undefined,
    };
    const kind = odd ? i % 10 : 0;
    if (every > 0) await sleep(-Math.log(1 - next()) * every); // Poisson
    const wrong = (what: string) => result.errors.push(`${i}: ${what}`);
    if (kind === 7) {
      const response = await post("/v1/chat/completions", { ...body, temperature: "hot" });
      if (response.status !== 400) wrong(`status ${response.status} of a bad body`);
      await response.text();
      return;
    }
    if (kind === 8) {
      const abort = new AbortController();
      setTimeout(() => abort.abort(), 1 + next() * 50);
      await post(
        "/v1/chat/completions",
        { ...body, max_tokens: 50 },
        {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ ...body, temperature: 2, max_tokens: 50, stream: true }),
          signal: abort.signal,
        },
      )
        .then(
          (response) => response.text(),
          () => {},
        )
        .catch(() => {});
      return;
    }
    const asked = performance.now();
    const response = await post("/v1/chat/completions", body);
    if (response.status !== 200) return void wrong(`status ${response.status}: ${await response.text()}`);
    if (!body.stream) {
      // biome-ignore lint/suspicious/noExplicitAny: what comes is compared
      const answer = (await response.json()) as any;
      if (answer.choices[0].message.content !== expected) wrong(`"${answer.choices[0].message.content}" in place of "${expected}"`);
      result.tokens += answer.usage.completion_tokens;
      return;
    }
    let text = "";
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (text === "") result.ttft.push(performance.now() - asked);
      text += read.value;
      if (kind === 9) await sleep(30);
    }
    const chunks = chunksOf(text);
    const said = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    if (said !== expected) wrong(`"${said}" in place of "${expected}"`);
    result.tokens += chunks.at(-1)?.usage?.completion_tokens ?? 0;
  };
  let at = 0;
  const work = async () => {
    while (at < requests) {
      const i = at++;
      result.requests++;
      await one(i).catch((error: Error) =>
        result.errors.push(`${i}: ${error.message} ${(error.cause as Error | undefined)?.message ?? ""}`),
      );
    }
  };
  await Promise.all(Array.from({ length: clients }, work));
  result.seconds = (performance.now() - began) / 1000;
  return result;
}

export function loadSuite(running: () => Running, full: boolean): void {
  const idle = async () => {
    const { scheduler } = partsOf(running().vlm);
    while (scheduler.load.running + scheduler.load.waiting > 0) await sleep(1);
  };

  it("100 clients at once: every answer is the one it gets alone, nothing is lost, and slots are free afterwards", async () => {
    const { requests, errors } = await underLoad(running(), 100, full ? 2000 : 100, { every: 5 });
    expect(errors).toEqual([]);
    expect(requests).toBe(full ? 2000 : 100);
    await idle();
  });

  it("a client that hangs up frees its slot; whole answers, streams, and while they wait", async () => {
    const { scheduler, tokenizer, gpu } = partsOf(running().vlm);
    const warnings: string[] = [];
    const warned = ({ name }: Error) => warnings.push(name);
    process.on("warning", warned);
    const ends = Object.fromEntries(["<|im_end|>", "<|endoftext|>"].map((token) => [tokenizer.idOf(token), -100]));
    const long = {
      ...TRIANGLE,
      messages: [{ role: "user", content: "Count." }],
      n: 12,
      max_tokens: 1000,
      temperature: 2,
      logit_bias: ends,
    };
    for (const stream of [false, true]) {
      const abort = new AbortController();
      const body = JSON.stringify({ ...long, stream });
      const asking = fetch(`${running().url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
        signal: abort.signal,
      })
        .then((response) => response.text())
        .catch(() => "gone");
      while (scheduler.load.running === 0) await sleep(1);
      const { decodeSteps } = gpu.counters;
      abort.abort();
      await idle();
      expect(gpu.counters.decodeSteps - decodeSteps).toBeLessThan(500); // two thousand until all had ended
      expect(await asking).toBe("gone");
    }
    process.off("warning", warned);
    expect(warnings).not.toContain("MaxListenersExceededWarning"); // of a signal that all twelve listen to
  });

  it("who reads nothing keeps no slot", async () => {
    const { port } = new URL(running().url);
    const body = JSON.stringify({
      ...TRIANGLE,
      stream: true,
      n: 8,
      max_tokens: 200,
      temperature: 1.5,
      messages: [{ role: "user", content: "Count." }],
    });
    const socket = connect(Number(port), "127.0.0.1");
    socket.pause();
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const { scheduler } = partsOf(running().vlm);
    while (scheduler.load.running === 0) await sleep(1);
    await idle();
    socket.destroy();
  });
}

/** The figures of docs/serving.md, in full mode: 1, 8 and 32 clients in turns, then 2,000 requests. */
export function figures(running: () => Running): void {
  it("gives its figures", async () => {
    const rss = () => process.memoryUsage().rss / 1e6;
    const rows = new Map([1, 8, 32].map((clients) => [clients, { requests: 0, errors: 0, tokens: 0, seconds: 0, ttft: [] as number[] }]));
    await underLoad(running(), 8, 64, { odd: false });
    const before = rss();
    for (let turn = 0; turn < 5; turn++) {
      for (const [clients, sum] of rows) {
        const { requests, errors, tokens, seconds, ttft } = await underLoad(running(), clients, 66, { odd: false });
        sum.requests += requests;
        sum.errors += errors.length;
        sum.tokens += tokens;
        sum.seconds += seconds;
        sum.ttft.push(...ttft);
      }
    }
    for (const [clients, { requests, errors, tokens, seconds, ttft }] of rows) {
      const [p50, p99] = [0.5, 0.99].map((share) => percentile(ttft, share).toFixed(0));
      console.log(
        `${clients} clients: ${requests} requests, ${errors} errors, ${(tokens / seconds).toFixed(1)} tokens/s, first token p50 ${p50} ms, p99 ${p99} ms`,
      );
      expect(errors).toBe(0);
    }
    const middle = rss();
    const { requests, errors } = await underLoad(running(), 32, 1010, { odd: false });
    expect(errors).toEqual([]);
    console.log(`RSS: ${before.toFixed(0)} MB, after 990 requests ${middle.toFixed(0)} MB, after ${990 + requests} ${rss().toFixed(0)} MB`);
    expect(rss()).toBeLessThan(1.5 * before + 200);
  }, 900_000);
}
