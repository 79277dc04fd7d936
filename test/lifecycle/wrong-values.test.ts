import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineError, InternVL } from "../../src/index.ts";
import { generateBatch, generateTrace, tiles, tokenizer, traceForward } from "../../src/testing.ts";
import { expectNoUnhandled } from "../shared/failures.ts";
import { pathOf } from "../support.ts";

const folder = pathOf("weights/nano");
const card = `${folder}/images/card-1.png`;
const RUNS = 300;

expectNoUnhandled();

/** An object that throws whenever it is asked anything; but for symbols, which fast-check itself asks for. */
function refuse(key: string | symbol): undefined {
  if (typeof key === "string") throw new RangeError(`the object's own: ${key}`);
}
const thrower = new Proxy(
  {},
  { get: (_, key) => refuse(key), has: (_, key) => refuse(key) ?? false, ownKeys: () => [String(refuse("keys"))] },
);
const odd = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withNullPrototype: true,
    withSparseArray: true,
  }),
  fc.constantFrom<unknown>(
    null,
    undefined,
    Number.NaN,
    -1,
    0,
    1e308,
    "",
    "5",
    "a".repeat(1e5),
    Symbol("s"),
    () => 5,
    new Date(),
    new Error("e"),
  ),
  fc.constantFrom<unknown>(thrower, AbortSignal.abort(), new Blob([]), new URL("data:,x"), new ArrayBuffer(0), Buffer.from("x"), /x/),
);
const often = (right: fc.Arbitrary<unknown>) => fc.oneof({ weight: 2, arbitrary: right }, { weight: 1, arbitrary: odd });
const sometimes = (shape: Record<string, fc.Arbitrary<unknown>>) => fc.record(shape, { requiredKeys: [] });

const image = often(
  fc.oneof(
    fc.constant(card),
    fc.constant({ data: new Uint8Array(12), width: 2, height: 2 }),
    sometimes({ data: odd, width: odd, height: odd, channels: odd }),
    sometimes({
      size: odd,
      arrayBuffer: fc.constantFrom<unknown>(
        async () => 5,
        () => 7,
        5,
      ),
    }),
    fc.array(fc.constant(card), { maxLength: 2 }),
  ),
);
const text = often(fc.constantFrom("Hi", "<image>", "<|im_end|>", ""));
const part = often(
  fc.oneof(
    sometimes({ type: often(fc.constant("text")), text }),
    sometimes({ type: often(fc.constant("image")), image, maxTiles: often(fc.constant(2)) }),
    sometimes({ type: often(fc.constant("image_url")), image_url: often(sometimes({ url: text, detail: text })) }),
  ),
);
const message = often(
  sometimes({
    role: often(fc.constantFrom("system", "user", "assistant")),
    content: often(fc.oneof(text, fc.array(part, { maxLength: 3 }))),
  }),
);
const turn = often(
  fc.oneof(fc.tuple(text, text), sometimes({ question: text, answer: text, images: fc.array(image, { maxLength: 2 }) }), message),
);
const history = often(fc.array(turn, { maxLength: 3 }));
const question = often(fc.oneof(text, fc.array(message, { maxLength: 3 })));
const images = often(fc.array(image, { maxLength: 2 }));
const generation = {
  maxTokens: often(fc.constant(1)),
  temperature: often(fc.constant(1)),
  topP: odd,
  topK: odd,
  seed: odd,
  stop: often(fc.array(text, { maxLength: 2 })),
};
const asked = {
  images,
  video: images,
  maxTiles: often(fc.constant(1)),
  maxSide: odd,
  decoder: odd,
  specialTokens: odd,
  signal: odd,
  wrong: odd,
};
const chat = often(sometimes({ ...asked, ...generation, history, system: text }));
const session = often(sometimes({ system: text, history, wrong: odd }));
const item = often(
  sometimes({ prompt: often(fc.oneof(question, fc.array(text, { maxLength: 2 }))), images, history, system: text, ...generation }),
);
const batch = often(sometimes({ ...generation, rows: odd, kvBytes: odd, maxContext: odd, signal: odd, onResult: odd }));

/** Whatever an entry is given, it answers, or it says what is wrong as this library does. */
async function answersOrSays(call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    expect(error.message).not.toMatch(/not foreseen/);
    expect(error.message.length).toBeLessThan(600);
  }
}

describe("whatever is given", () => {
  let vlm: InternVL;
  let bytes: number;
  beforeAll(async () => {
    vlm = await InternVL.load(folder, { maxContext: 96 });
    bytes = vlm.memory().bytes;
  });
  afterAll(async () => {
    expect(vlm.memory().bytes).toBe(bytes);
    expect((await vlm.chat("What shape is it?", { images: [card], maxTiles: 1 })).text).toBe("A triangle.");
    await vlm.dispose();
  });

  const holds = (name: string, given: readonly fc.Arbitrary<unknown>[], call: (...values: never[]) => unknown) =>
    it(name, async () => {
      const property = fc.asyncProperty(fc.tuple(...given), (values) => answersOrSays(() => call(...(values as never[]))));
      await fc.assert(property, { numRuns: RUNS, seed: 11 });
    });

  holds("chat", [question, chat], (asked, options) => vlm.chat(asked, options));
  holds("session and send", [session, question, chat], (options, asked, more) => vlm.session(options).send(asked, more));
  holds("batch", [often(fc.array(item, { maxLength: 2 })), batch], async (items, options) => {
    for (const result of await vlm.batch(items, options)) {
      if ("error" in result) await answersOrSays(() => Promise.reject(result.error));
    }
  });
  const source = odd.filter((value) => typeof value !== "string" || !value.includes("/"));
  const load = often(
    sometimes({ device: odd, weights: odd, maxContext: odd, kv: odd, onProgress: odd, signal: odd, dtype: odd, token: odd }),
  );
  holds("load", [source, load], async (from, options) => (await InternVL.load(from, options)).dispose());
  const trace = often(
    sometimes({ inputIds: often(fc.array(often(fc.nat(1000)), { maxLength: 4 })), pixelValues: odd, steps: often(fc.constant(1)) }),
  );
  holds("traceForward", [trace], (request) => traceForward(vlm, request));
  holds("generateTrace", [trace], (request) => generateTrace(vlm, request));
  const run = often(sometimes({ steps: often(fc.constant(1)), stopId: odd, maxContext: often(fc.constant(16)) }));
  holds("generateBatch", [often(fc.array(trace, { maxLength: 2 })), run], (requests, options) => generateBatch(vlm, requests, options));
  holds("the testing exports of no model", [odd, trace], (model, request) => traceForward(model, request));
  holds("tiles", [odd, odd], (file, options) => tiles(file, options));
  holds("tokenizer", [source], (from) => tokenizer(from));
});
