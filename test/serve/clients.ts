import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { expect, it } from "vitest";
import { z } from "zod";
import { internvl } from "../../src/ai-sdk.ts";
import { partsOf } from "../../src/api/internvl.ts";
import { fixtureUrl, pathOf } from "./pictures.ts";
import { about, MODEL, type Running, TRIANGLE } from "./server.ts";

const SHAPE = "What shape is it?";

/** The clients that people have, as they use them. */
export function clientSuite(running: () => Running): void {
  const baseURL = () => `${running().url}/v1`;
  const openai = () => new OpenAI({ baseURL: baseURL(), apiKey: "none", maxRetries: 0 });

  it("openai: chat", async () => {
    const { choices, usage } = await openai().chat.completions.create(TRIANGLE);
    expect(choices[0]!.message.content).toBe("A triangle.");
    expect(usage!.prompt_tokens_details!.cached_tokens).toBeGreaterThanOrEqual(0);
  });

  it("openai: stream, by hand and with its helper", async () => {
    let text = "";
    for await (const chunk of await openai().chat.completions.create({ ...TRIANGLE, stream: true }))
      text += chunk.choices[0]?.delta.content ?? "";
    expect(text).toBe("A triangle.");
    const helper = openai().chat.completions.stream({ ...TRIANGLE, stream_options: { include_usage: true } });
    const deltas: string[] = [];
    helper.on("content", (delta) => deltas.push(delta));
    const final = await helper.finalChatCompletion();
    expect(final.choices[0]!.message.content).toBe("A triangle.");
    expect(deltas.join("")).toBe("A triangle.");
    expect((await helper.totalUsage()).completion_tokens).toBe(4);
  });

  it("openai: parse with zod, and a tool that is run", async () => {
    const Answer = z.object({ shape: z.enum(["circle", "triangle"]), sides: z.int().min(0).max(9), note: z.string().max(8).nullable() });
    const parsed = await openai().chat.completions.parse({ ...TRIANGLE, response_format: zodResponseFormat(Answer, "answer") });
    const answer = Answer.parse(parsed.choices[0]!.message.parsed);
    expect(["circle", "triangle"]).toContain(answer.shape);
    const called: number[] = [];
    const tool = zodFunction({
      name: "count",
      parameters: z.object({ sides: z.int().min(1).max(9) }),
      function: ({ sides }) => {
        called.push(sides);
        return "done";
      },
    });
    const request = { ...TRIANGLE, tools: [tool], tool_choice: { type: "function" as const, function: { name: "count" } } };
    const { choices } = await openai().chat.completions.parse({ ...request, parallel_tool_calls: false });
    const [call] = choices[0]!.message.tool_calls!;
    expect(call!.function.parsed_arguments).toMatchObject({ sides: expect.any(Number) });
    const refused = openai().chat.completions.parse({
      ...TRIANGLE,
      response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "object", minProperties: 2 } } },
    });
    await expect(refused).rejects.toMatchObject({ status: 400, param: "response_format.json_schema.schema" });
  });

  it("openai's stream helper and ai's streamText: calls of strict tools", async () => {
    const { tokenizer } = partsOf(running().vlm);
    const Count = z.object({ sides: z.int().min(1).max(9), shape: z.literal("triangle with corners") });
    const count = zodFunction({ name: "count", parameters: Count });
    const sides = { sides: expect.any(Number), shape: "triangle with corners" };
    const begun = { logit_bias: { [tokenizer.idOf("<tool_call>")!]: 100 }, parallel_tool_calls: false }; // the model begins a call by itself
    const helper = openai().chat.completions.stream({ ...TRIANGLE, tools: [count], ...begun });
    const done: unknown[] = [];
    const deltas: string[] = [];
    helper.on("tool_calls.function.arguments.delta", ({ arguments_delta: delta }) => deltas.push(delta));
    helper.on("tool_calls.function.arguments.done", ({ name, parsed_arguments }) => done.push([name, parsed_arguments]));
    const { choices } = await helper.finalChatCompletion();
    expect([choices[0]!.finish_reason, done]).toEqual(["tool_calls", [["count", sides]]]);
    expect(deltas.length).toBeGreaterThan(1); // they come as they are written
    expect(JSON.parse(deltas.join(""))).toEqual(sides);
    const provider = createOpenAICompatible({ name: "internvl", baseURL: baseURL() });
    const tools = { count: tool({ inputSchema: Count }) };
    const providerOptions = { internvl: { parallel_tool_calls: false } };
    const streamed = streamText({ model: provider(MODEL), tools, toolChoice: "required", prompt: SHAPE, temperature: 0, providerOptions });
    let input = "";
    for await (const part of streamed.fullStream) if (part.type === "tool-input-delta") input += part.delta;
    expect(JSON.parse(input)).toEqual(sides);
    expect(await streamed.toolCalls).toMatchObject([{ toolName: "count", input: sides }]);
    expect(await streamed.finishReason).toBe("tool-calls");
    // The same of the provider without a server.
    const own = streamText({
      model: internvl(running().vlm),
      tools,
      toolChoice: "required",
      prompt: SHAPE,
      temperature: 0,
      providerOptions,
    });
    const kinds: string[] = [];
    for await (const { type } of own.fullStream) if (type.startsWith("tool-")) kinds.push(type);
    expect([kinds[0], kinds.at(-2), kinds.at(-1)]).toEqual(["tool-input-start", "tool-input-end", "tool-call"]);
    expect(kinds.filter((kind) => kind === "tool-input-delta").length).toBeGreaterThan(1);
    expect(await own.toolCalls).toMatchObject([{ toolName: "count", input: sides }]);
  });

  it("openai: errors are its own classes", async () => {
    const failed = await openai()
      .chat.completions.create({ ...TRIANGLE, temperature: 9 })
      .catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(OpenAI.BadRequestError);
    expect(failed).toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error" });
    await expect(openai().chat.completions.create({ ...TRIANGLE, model: "other" })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it("openai: completions, models, leaving a stream", async () => {
    const { choices } = await openai().completions.create({ model: MODEL, prompt: "The shape is", max_tokens: 3 });
    expect(choices[0]!.text.length).toBeGreaterThan(0);
    const models = await openai().models.list();
    expect(models.data.map(({ id }) => id)).toEqual([MODEL]);
    const stream = await openai().chat.completions.create({ ...TRIANGLE, max_tokens: 100, temperature: 2, stream: true });
    for await (const _ of stream) break;
  });

  it("ai with @ai-sdk/openai-compatible: generateText, streamText, images", async () => {
    const provider = createOpenAICompatible({ name: "internvl", baseURL: baseURL(), includeUsage: true });
    const image = { type: "image" as const, image: fixtureUrl("card-1") };
    const messages = [{ role: "user" as const, content: [image, { type: "text" as const, text: SHAPE }] }];
    const whole = await generateText({ model: provider(MODEL), messages, temperature: 0 });
    expect(whole.text).toBe("A triangle.");
    expect(whole.usage).toMatchObject({ inputTokens: 42, outputTokens: 4 });
    const streamed = streamText({ model: provider(MODEL), messages, temperature: 0 });
    let text = "";
    for await (const piece of streamed.textStream) text += piece;
    expect(text).toBe("A triangle.");
    expect(await streamed.finishReason).toBe("stop");
  });

  it("ai: generateObject, through the server and without it", async () => {
    const provider = createOpenAICompatible({ name: "internvl", baseURL: baseURL(), supportsStructuredOutputs: true });
    const schema = z.object({ shape: z.enum(["circle", "square"]), tags: z.array(z.string().max(5)).min(1).max(2), sure: z.boolean() });
    for (const model of [provider(MODEL), internvl(running().vlm)]) {
      const { object } = await generateObject({ model, schema, prompt: SHAPE, temperature: 0 });
      expect(schema.parse(object)).toEqual(object);
    }
    const count = tool({ inputSchema: z.object({ sides: z.int().min(1).max(9) }) });
    const { toolCalls } = await generateText({ model: internvl(running().vlm), tools: { count }, toolChoice: "required", prompt: SHAPE });
    expect(toolCalls[0]).toMatchObject({ toolName: "count", input: { sides: expect.any(Number) } });
  });

  it("ai with internvl-webgpu/ai-sdk, without a server: generateText, streamText, leaving it", async () => {
    const model = internvl(running().vlm);
    const bytes = Buffer.from(fixtureUrl("card-1").split(",")[1]!, "base64");
    const content = [
      { type: "image" as const, image: new Uint8Array(bytes) },
      { type: "text" as const, text: SHAPE },
    ];
    const messages = [{ role: "user" as const, content }];
    const whole = await generateText({ model, messages });
    expect([whole.text, whole.finishReason, whole.usage.inputTokens, whole.usage.outputTokens]).toEqual(["A triangle.", "stop", 42, 4]);
    let text = "";
    for await (const piece of streamText({ model, messages }).textStream) text += piece;
    expect(text).toBe("A triangle.");
    const failed = await generateText({ model, messages, temperature: 9, maxRetries: 0 }).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "bad-input", param: "temperature" });
    const abort = new AbortController();
    const left = streamText({ model, prompt: "Count.", temperature: 2, abortSignal: abort.signal, onError: () => {} });
    for await (const _ of left.textStream) abort.abort();
    const { scheduler } = partsOf(running().vlm);
    await expect.poll(() => scheduler.load.running).toBe(0);
  });

  it("@langchain/openai: invoke and stream", async () => {
    const model = new ChatOpenAI({ model: MODEL, temperature: 0, apiKey: "none", maxRetries: 0, configuration: { baseURL: baseURL() } });
    const message = new HumanMessage({ content: about(SHAPE).content });
    const answer = await model.invoke([message]);
    expect(answer.content).toBe("A triangle.");
    expect(answer.usage_metadata).toMatchObject({ input_tokens: 42, output_tokens: 4 });
    let text = "";
    for await (const chunk of await model.stream([message])) text += chunk.content;
    expect(text).toBe("A triangle.");
  });

  it("curl", async () => {
    const picture = pathOf("weights/nano/images/card-1.png");
    const script = `printf '{"temperature":0,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}},{"type":"text","text":"${SHAPE}"}]}]}' "$(base64 -w0 < '${picture}')" | curl -sS --fail-with-body ${baseURL()}/chat/completions -H 'Content-Type: application/json' -d @-`;
    const { stdout } = await promisify(execFile)("sh", ["-c", script]);
    expect(JSON.parse(stdout).choices[0].message.content).toBe("A triangle.");
  });
}
