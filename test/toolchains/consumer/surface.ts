// A consumer that uses the whole surface, compiled in every setting: with and without the names of a page or of Node.
import {
  type BatchResult,
  type CachedModel,
  type ChatCompletion,
  type ChatCompletionChunk,
  type ChatCompletionRequest,
  type ChatMessage,
  type ChatOptions,
  type ChatReply,
  type ChatResult,
  type ChatTool,
  type ChatToolCall,
  type Complete,
  type CompletionOptions,
  type ContentPart,
  cachedModels,
  type DeviceOptions,
  EngineError,
  type ErrorCode,
  type GenerationOptions,
  type ImageLike,
  InternVL,
  type LoadOptions,
  type MatrixDtype,
  type Message,
  type Progress,
  type PromptProgress,
  type RawImage,
  type Session,
  type SourceLike,
  type WeightFormat,
  type WeightSource,
} from "internvl-webgpu";
import {
  type Conversion,
  type ConvertFormat,
  type ConvertOptions,
  convertWeights,
  type Inspection,
  inspect,
  type OutputFolder,
  verify,
} from "internvl-webgpu/convert";
import { createHandler, type ServerOptions, type Service } from "internvl-webgpu/server";
import {
  defineKernelCase,
  generateBatch,
  generateTrace,
  type KernelCase,
  kernelCases,
  openGpu,
  runKernelCase,
  runKernelCases,
  tiles,
  tokenizer,
  traceForward,
} from "internvl-webgpu/testing";
import { InternVLWorker, type WorkerLoadOptions } from "internvl-webgpu/worker";
import "internvl-webgpu/worker-thread";

export const seen: unknown[] = [];

// What is loaded, and how.
const source: WeightSource = {
  open: async (name) => ({ name, size: 4, read: async (_offset, length) => new Uint8Array(length), close: async () => {} }),
};
export const sources: SourceLike[] = ["./model", "org/name", "https://host/model", source, []];
const device: DeviceOptions = { adapter: "nvidia", powerPreference: "high-performance" };
const loading: LoadOptions = {
  device,
  devices: [device, { adapter: "amd" }],
  split: [8, 24],
  weights: "auto",
  adapters: ["./my-lora", "org/lora"],
  precision: "exact",
  kv: "f16",
  maxContext: 8192,
  onProgress: ({ phase, loaded, total, file, note }: Progress) => seen.push(phase, loaded / total, file, note),
};
const format: WeightFormat = "q4";
const vlm: InternVL = await InternVL.load("./model", { ...loading, weights: format });
const held: MatrixDtype = vlm.weights;
seen.push(held, vlm.adapter.length, vlm.memory().bytes, vlm.memory().entries[0]?.label);

// Pictures.
const pixels: RawImage = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 };
export const pictures: ImageLike[] = ["a.png", new Uint8Array(8), new ArrayBuffer(8), pixels];

// One answer: iterated and awaited.
const sampling: GenerationOptions = { maxTokens: 5, temperature: 0.7, topP: 0.9, topK: 40, minP: 0.1, seed: 1, repetitionPenalty: 1.1 };
const asked: ChatOptions = {
  ...sampling,
  images: ["a.png", [pixels, pixels]],
  maxTiles: 6,
  system: "Be short.",
  stop: ["\n"],
  decoder: "js",
  maxPixels: 1e8,
  maxSide: 20_000,
  allowTruncated: true,
  specialTokens: "parse",
  onProgress: ({ phase, loaded, total }: PromptProgress) => seen.push(phase === "vision", loaded / total),
};
const reply: ChatReply = vlm.chat("What shape is it?", asked);
for await (const piece of reply) seen.push(piece.length);
const result: ChatResult = await reply;
const { text, tokenIds, promptTokenIds, usage, timings, finishReason, seed, history } = result;
seen.push(text.length, tokenIds[0], promptTokenIds[0], usage.promptTokens, timings.decode, finishReason === "stop", seed);
export const whole: Promise<ChatResult> = reply;
export const race: Promise<string> = reply
  .then(({ text }) => text)
  .catch((error: unknown) => (error instanceof EngineError && error.name === "AbortError" ? (error.partialText ?? "") : ""))
  .finally(() => seen.push("ended"));

// Conversations.
seen.push((await vlm.chat("And its colour?", { history })).text);
seen.push((await vlm.chat("And its colour?", { history: [["What is it?", "A cross."]] })).text);
const content: ContentPart[] = [
  { type: "text", text: "What is it?" },
  { type: "image", image: pixels, maxTiles: 6 },
  { type: "image_url", image_url: { url: "https://host/a.png" } },
];
const messages: Message[] = [
  { role: "system", content: "Be short." },
  { role: "user", content },
];
seen.push((await vlm.chat(messages)).history satisfies Message[]);
seen.push((await vlm.batch([{ prompt: messages }])).length, vlm.session({ history: [] }).history.length);
const session: Session = vlm.session({ system: "Be short." });
seen.push((await session.send("What happens?", { video: ["1.png", "2.png"], maxTokens: 5 })).text, session.history.length);

// Batches.
const items = [{ prompt: "One?" }, { prompt: ["Two?", "Why?"], images: ["b.png"], temperature: 0 }];
const results: BatchResult[] = await vlm.batch(items, { rows: 2, kvBytes: 2 ** 30, onResult: (one, index) => seen.push(one, index) });
for (const one of results) seen.push("error" in one ? one.error.code : one.turns.length);

// OpenAI's form, and a server on it.
const said: ChatMessage[] = [{ role: "user", content: [{ type: "text", text: "What is it?" }] }];
const tools: ChatTool[] = [{ type: "function", function: { name: "add", parameters: {} } }];
const limits: CompletionOptions = { maxPixels: 1e8, maxImages: 4 };
const request: ChatCompletionRequest = { messages: said, tools, temperature: 0, logprobs: true, top_logprobs: 2 };
const completion: ChatCompletion = await vlm.complete({ ...request, stream: false }, limits);
const call: ChatToolCall | undefined = completion.choices[0]?.message.tool_calls?.[0];
seen.push(completion.usage.prompt_tokens_details.cached_tokens, completion.timings.predicted_per_second, call?.function.arguments);
for await (const chunk of await vlm.complete({ ...request, stream: true })) seen.push(chunk satisfies ChatCompletionChunk);
export const completing: Complete = vlm.complete;
const options: ServerOptions = { model: "m", apiKey: "k", cors: "*", maxBody: 1e6, maxQueue: 4, maxSeconds: 60 };
const service: Service = { vlm, stopping: false };
export const handlers = [createHandler(vlm), createHandler(service, options)];

// Errors, and the end.
try {
  await vlm.dispose();
  await vlm[Symbol.asyncDispose]();
} catch (error) {
  if (error instanceof EngineError) {
    const code: ErrorCode = error.code;
    seen.push(code, error.message, error.hint, error.partialText, error.param);
  }
}
const cached: CachedModel[] = await cachedModels();
seen.push(cached.length);

// A checkpoint's files: looked at, checked, converted.
const files: Inspection = await inspect(source);
seen.push(files.config.language.layers, files.parameters, files.tensors[0]?.shape, files.totals.dtypes.BF16?.bytes, files.tied);
seen.push((await verify("org/name", { revision: "main", onProgress: ({ loaded, total }) => seen.push(loaded / total) })).bytes);
const folder: OutputFolder = { ...source, create: async () => ({ write: async () => {}, close: async () => {} }) };
const smaller: ConvertFormat = "q4";
const converting: ConvertOptions = { to: smaller, out: folder, shardBytes: 2e9, device, onProgress: ({ phase }) => seen.push(phase) };
const converted: Conversion = await convertWeights("./model", converting);
seen.push(converted.bytes / converted.sourceBytes, converted.tensors[0]?.nmse);

// The same in a worker.
const moved: WorkerLoadOptions = { weights: "q8", device: { powerPreference: "low-power" } };
const worker: InternVLWorker = await InternVLWorker.load("https://host/model", moved);
for await (const piece of worker.chat("What?", { images: pictures })) seen.push(piece);
seen.push((await worker.session().send("What?")).text, (await worker.batch(items)).length, worker.memory().bytes);
await worker.dispose();

// The kernel harness.
const gpu = await openGpu({ adapter: "llvmpipe", autotune: false });
export const mine: KernelCase = defineKernelCase(
  "double",
  { n: 100 },
  {
    step: { units: 100, start: 0 },
    bound: { nmse: 0, largest: 0 },
    record(program, { random, activation }) {
      const xs = random.values(100);
      const x = activation("x", { base: 0, unit: 1 }, 1, xs);
      const y = program.activation("y", x.rows, 1);
      const kernel = { shader: "double", code: "", consts: {}, bindings: "uurw" };
      program.dispatch({ kernel, params: [100], buffers: [x.buffer, y.buffer], workgroups: () => [2, 1, 1] });
      return [{ label: "y", buffer: y.buffer, kind: "f32", length: 100, expected: () => xs.map((value) => 2 * value) }];
    },
  },
);
seen.push((await runKernelCase(gpu, mine)).status, (await runKernelCases(gpu, kernelCases(1))).passed, gpu.adapterName);
gpu.close();
seen.push((await traceForward(vlm, { pixelValues: new Float32Array(3), inputIds: [1] })).get("logits")?.length);
seen.push(
  (await generateTrace(vlm, { inputIds: [1], steps: 2 })).ids,
  await generateBatch(vlm, [{ inputIds: [1] }], { steps: 2, maxContext: 64 }),
);
seen.push((await tiles(new Uint8Array(8), { maxTiles: 6 })).grid, (await tokenizer("./model")).encode("a"));

// What is wrong does not compile.
// @ts-expect-error: images
vlm.chat("What?", { image: "a.png" });
// @ts-expect-error: maxTokens
vlm.chat("What?", { max_tokens: 5 });
// @ts-expect-error: a text
vlm.chat("What?", { maxTokens: "5" });
// @ts-expect-error: a list
vlm.chat("What?", { images: "a.png" });
// @ts-expect-error: a list of pictures, not a picture's bytes
vlm.chat("What?", { images: new Uint8Array(8) });
// @ts-expect-error: a number is no picture
vlm.chat("What?", { images: [5] });
// @ts-expect-error: an object without anything of a picture
vlm.chat("What?", { images: [{}] });
// @ts-expect-error: a list of frames
vlm.chat("What?", { video: "a.mp4" });
// @ts-expect-error: turns
vlm.chat("What?", { history: "before" });
// @ts-expect-error: half a turn
vlm.chat("What?", { history: [["Hi"]] });
// @ts-expect-error: no such role
vlm.chat([{ role: "robot", content: "Hi" }]);
// @ts-expect-error: no such part
vlm.chat([{ role: "user", content: [{ type: "video", video: "a.mp4" }] }]);
// @ts-expect-error: "text" or "parse"
vlm.chat("What?", { specialTokens: true });
// @ts-expect-error: an AbortSignal
vlm.chat("What?", { signal: {} });
// @ts-expect-error: a text
vlm.chat("What?", { system: 5 });
// @ts-expect-error: no picture in place of the options
vlm.chat("What?", "a.png");
// @ts-expect-error: a question
vlm.chat(null);
// @ts-expect-error: a text
vlm.session({ system: 5 });
// @ts-expect-error: images
session.send("What?", { image: "a.png" });
// @ts-expect-error: the session has its own
session.send("What?", { history: [] });
// @ts-expect-error: images
vlm.batch([{ prompt: "What?", image: "a.png" }]);
// @ts-expect-error: a prompt
vlm.batch([{ question: "What?" }]);
// @ts-expect-error: rows
vlm.batch([], { slots: 2 });
// @ts-expect-error: a GPUDevice or how to choose one
InternVL.load("./model", { device: 12345 });
// @ts-expect-error: { adapter: "llvmpipe" }
InternVL.load("./model", { device: "llvmpipe" });
// @ts-expect-error: adapter
InternVL.load("./model", { device: { adaptor: "nvidia" } });
// @ts-expect-error: weights
InternVL.load("./model", { dtype: "q4" });
// @ts-expect-error: no such format
InternVL.load("./model", { weights: "q3" });
// @ts-expect-error: maxContext
InternVL.load("./model", { context: 512 });
// @ts-expect-error: something to load
InternVL.load();
// @ts-expect-error: something to load
InternVL.load(5);
// @ts-expect-error: a worker opens its own devices
InternVLWorker.load("./model", { devices: [gpu.device] });
// @ts-expect-error: a worker opens its own device
InternVLWorker.load("./model", { device: gpu.device });
// @ts-expect-error: adapter
openGpu({ name: "nvidia" });
// @ts-expect-error: a format and a folder
convertWeights("./model");
// @ts-expect-error: a folder
convertWeights("./model", { to: "q4" });
// @ts-expect-error: no such format
convertWeights("./model", { to: "q3", out: "./q3" });
// @ts-expect-error: what is written is read back
convertWeights("./model", { to: "q4", out: { create: folder.create } });
// @ts-expect-error: it keeps nothing
verify("./model", { out: "./copy" });
// @ts-expect-error: only load makes one
new InternVL();
