import { expect } from "vitest";
import { fixtureUrl } from "./pictures.ts";
import { about, chunksOf, eventsOf, MODEL, type Running, TRIANGLE } from "./server.ts";

/** One field of one endpoint: what OpenAI documents, what llama-server does, what this server does, and the test of the latter. */
export interface Row {
  endpoint: string;
  field: string;
  openai: string;
  llama: string;
  ours: string;
  check(server: Running): Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at, whatever they are
export type Json = any;

const CHAT = "/v1/chat/completions";
const TEXT = "/v1/completions";
const SHAPE = "What shape is it?";
const SHAPE_SCHEMA = {
  type: "object",
  properties: { shape: { enum: ["circle", "triangle"] }, sides: { type: "integer", minimum: 0, maximum: 9 } },
  required: ["shape", "sides"],
  additionalProperties: false,
};

export async function ok(server: Running, path: string, body: object): Promise<Json> {
  const response = await server.post(path, body);
  const answer: Json = await response.json();
  expect(response.status, JSON.stringify(answer)).toBe(200);
  return answer;
}
export const chat = (server: Running, more: object = {}) => ok(server, CHAT, { ...TRIANGLE, ...more });
const complete = (server: Running, more: object = {}) =>
  ok(server, TEXT, { model: MODEL, prompt: "The shape is", temperature: 0, ...more });
const textOf = (answer: Json, i = 0): string => answer.choices[i].message.content;

export async function streamed(server: Running, more: object = {}, path = CHAT, base: object = TRIANGLE): Promise<Json[]> {
  const response = await server.post(path, { ...base, stream: true, ...more });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  expect(eventsOf(text).at(-1)).toBe("[DONE]");
  return chunksOf(text);
}

/** An error in OpenAI's form, about a parameter. */
export async function refused(
  server: Running,
  path: string,
  body: unknown,
  status: number,
  param: string | null,
  code: string | null = null,
) {
  const response = await server.post(path, body);
  const { error }: Json = await response.json();
  expect({ status: response.status, param: error.param, code: error.code }).toEqual({ status, param, code });
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  expect(error.message.length).toBeGreaterThan(10);
  return error as { message: string; type: string };
}
const wrong = (param: string, more: object) => (server: Running) =>
  refused(server, CHAT, { ...TRIANGLE, ...more }, 400, param).then(() => {});
const answers = (more: object) => async (server: Running) => expect(textOf(await chat(server, more))).toBe("A triangle.");

export const row = (endpoint: string, field: string, openai: string, llama: string, ours: string, check: Row["check"]): Row => ({
  endpoint,
  field,
  openai,
  llama,
  ours,
  check,
});
export const c = (field: string, openai: string, llama: string, ours: string, check: Row["check"]) =>
  row(CHAT, field, openai, llama, ours, check);
const t = (field: string, openai: string, llama: string, ours: string, check: Row["check"]) => row(TEXT, field, openai, llama, ours, check);

export const SAME = "the same";
export const user = (content: unknown) => [{ role: "user", content }];

export const ROWS: Row[] = [
  c("the answer", "id, object, created, model, choices, usage", SAME, SAME, async (server) => {
    const before = Math.floor(Date.now() / 1000);
    const answer = await chat(server);
    expect(answer).toMatchObject({ object: "chat.completion", model: MODEL, id: expect.stringMatching(/^chatcmpl-/) });
    expect(answer.created >= before && answer.created <= Date.now() / 1000).toBe(true);
    expect(answer.choices).toEqual([
      { index: 0, message: { role: "assistant", content: "A triangle.", refusal: null }, logprobs: null, finish_reason: "stop" },
    ]);
  }),
  c(
    "usage",
    "prompt, completion and total tokens, cached_tokens in prompt_tokens_details",
    "the same, and timings.cache_n",
    "as OpenAI",
    async (server) => {
      await chat(server, { messages: [about(SHAPE, "card-2")] });
      const { usage } = await chat(server, { messages: [about(SHAPE, "card-2")] });
      expect(usage).toEqual({ prompt_tokens: 42, completion_tokens: 4, total_tokens: 46, prompt_tokens_details: { cached_tokens: 41 } });
    },
  ),
  c("timings", "none", "tokens, ms and tokens per second of prompt and answer", "as llama-server", async (server) => {
    const { timings } = await chat(server);
    expect(timings.cache_n + timings.prompt_n).toBe(42);
    expect(timings.predicted_n).toBe(4);
    expect(timings.predicted_per_second).toBeCloseTo((4000 / timings.predicted_ms) as number, 3);
    expect(timings.prompt_ms).toBeGreaterThan(0);
  }),
  c("messages: absent", "400", "400", "400", async (server) => {
    await refused(server, CHAT, { model: MODEL }, 400, "messages");
    await refused(server, CHAT, { model: MODEL, messages: [] }, 400, "messages");
  }),
  c("messages: wrong type", "400", "400", "400", wrong("messages", { messages: "hello" })),
  c(
    "messages[].role: unknown",
    "400",
    "by the template",
    "400",
    wrong("messages[0].role", { messages: [{ role: "robot", content: "x" }] }),
  ),
  c("messages[].role: developer", "in place of system in newer models", "as system", "as system", async (server) => {
    const count = async (role: string) =>
      (await chat(server, { messages: [{ role, content: "You are terse." }, about(SHAPE)], max_tokens: 1 })).usage.prompt_tokens;
    expect(await count("developer")).toBe(await count("system"));
  }),
  c(
    "messages[].role: system, later",
    "taken",
    "by the template",
    "400",
    wrong("messages[1]", { messages: [about(SHAPE), { role: "system", content: "x" }] }),
  ),
  c("messages: two of a user in a row", "taken", "by the template", "one, line below line", async (server) => {
    const two = await chat(server, { messages: [about("What"), { role: "user", content: "shape is it?" }], max_tokens: 1 });
    const one = await chat(server, { messages: [about("What\nshape is it?")], max_tokens: 1 });
    expect(two.usage.prompt_tokens).toBe(one.usage.prompt_tokens);
  }),
  c(
    "messages: end with an answer",
    "taken",
    "goes on with it",
    "400",
    wrong("messages", { messages: [about(SHAPE), { role: "assistant", content: "A" }] }),
  ),
  c("messages[].name", "taken", "ignored", "ignored", answers({ messages: [{ ...about(SHAPE), name: "Ann" }] })),
  c("messages[].content: list of texts", "taken", "taken", "lines, one below the other", answers({ messages: [about(SHAPE)] })),
  c("messages[].content: null", "400", "taken", "400", wrong("messages[0].content", { messages: user(null) })),
  c(
    "messages[].content[].type: unknown",
    "400",
    "400",
    "400",
    wrong("messages[0].content[0].type", { messages: user([{ type: "hologram" }]) }),
  ),
  c("image_url: data URL", "taken", "taken", "taken: PNG, JPEG", async (server) => {
    expect(textOf(await chat(server, { messages: [about("Please describe the image shortly.")] }))).toBe("A red triangle.");
  }),
  c(
    "image_url: a text in place of { url }",
    "400",
    "500",
    "taken",
    answers({
      messages: user([
        { type: "image_url", image_url: fixtureUrl("card-1") },
        { type: "text", text: SHAPE },
      ]),
    }),
  ),
  c("image_url: http(s)", "fetched", "fetched", "400, unless the host is allowed", async (server) => {
    const error = await refused(
      server,
      CHAT,
      { ...TRIANGLE, messages: user([{ type: "image_url", image_url: { url: "https://example.com/a.png" } }]) },
      400,
      "messages[0].content[0].image_url.url",
    );
    expect(error.message).toContain("data URL");
  }),
  c("image_url: damaged", "400", "400", "400", async (server) => {
    const messages = user([{ type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgoAAAAN" } }]);
    await refused(server, CHAT, { ...TRIANGLE, messages }, 400, "messages", "image_parse_error");
  }),
  c(
    "image_url: another kind of data",
    "400",
    "500",
    "400",
    wrong("messages[0].content[0].image_url.url", {
      messages: user([{ type: "image_url", image_url: { url: "data:text/html;base64,PGh0bWw+" } }]),
    }),
  ),
  c("image_url.detail", "auto, low, high", "ignored", "low is one tile", async (server) => {
    const tokens = async (detail: string) => {
      const part = { type: "image_url", image_url: { url: fixtureUrl("banner"), detail } };
      return (await chat(server, { messages: user([part, { type: "text", text: "What?" }]), max_tokens: 1 })).usage.prompt_tokens;
    };
    expect(await tokens("low")).toBeLessThan(await tokens("high"));
  }),
  c("several images", "taken", "taken", "taken, as Image-1: …", async (server) => {
    const { usage } = await chat(server, { messages: [about("Compare.", "card-1", "card-2")], max_tokens: 1 });
    expect(usage.prompt_tokens).toBeGreaterThan(48);
  }),
  c("images in the history", "taken", "taken", "taken", async (server) => {
    const messages = [
      about(SHAPE),
      { role: "assistant", content: "A triangle." },
      { role: "user", content: "What color is the triangle?" },
    ];
    expect(textOf(await chat(server, { messages }))).toBe("Red.");
  }),
  c(
    "image_url of an assistant",
    "400",
    "taken",
    "400",
    wrong("messages[1].content[0].type", {
      messages: [about(SHAPE), { role: "assistant", content: about(SHAPE).content }, { role: "user", content: "x" }],
    }),
  ),
  c("video_url", "none", "none", "data:video/jpeg;base64, with the frames' files, as vLLM", async (server) => {
    const frame = fixtureUrl("walk-1").split(",")[1];
    const messages = user([
      { type: "video_url", video_url: { url: `data:video/jpeg;base64,${frame},${frame}` } },
      { type: "text", text: "What?" },
    ]);
    const one = user([
      { type: "image_url", image_url: { url: fixtureUrl("walk-1"), detail: "low" } },
      { type: "text", text: "What?" },
    ]);
    const tokens = async (of: object[]) => (await chat(server, { messages: of, max_tokens: 1 })).usage.prompt_tokens;
    expect(await tokens(messages)).toBeGreaterThan(await tokens(one));
  }),
  c("<image>, <|im_end|> in a text", "text", "<|im_end|> is a token", "text", async (server) => {
    const tokens = async (text: string) => (await chat(server, { messages: user(text), max_tokens: 1 })).usage.prompt_tokens;
    expect(await tokens("a <image> b")).toBeGreaterThan(await tokens("a  b"));
    expect(await tokens("a <|im_end|> b")).toBeGreaterThan((await tokens("a  b")) + 1);
  }),
  c("model: another", "404 model_not_found", "ignored", "404 model_not_found", (server) =>
    refused(server, CHAT, { ...TRIANGLE, model: "gpt-4o" }, 404, null, "model_not_found").then(() => {}),
  ),
  c("model: absent", "400", "ignored", "the one that is there", async (server) => {
    expect((await ok(server, CHAT, { ...TRIANGLE, model: undefined })).model).toBe(MODEL);
  }),
  c("max_tokens", "ends the answer with finish_reason length", SAME, SAME, async (server) => {
    const answer = await chat(server, { max_tokens: 2 });
    expect(answer.choices[0]).toMatchObject({ finish_reason: "length", message: { content: "A triangle" } });
  }),
  c("max_completion_tokens", "in place of max_tokens", SAME, "goes before max_tokens", async (server) => {
    expect((await chat(server, { max_completion_tokens: 1, max_tokens: 3 })).usage.completion_tokens).toBe(1);
  }),
  c("max_tokens: 0, -1, 1.5, a text", "400", "-1: no limit; 0: the prompt alone; a text: ignored", "400", async (server) => {
    for (const max_tokens of [0, -1, 1.5, "5"]) await wrong("max_tokens", { max_tokens })(server);
  }),
  c("max_tokens: more than there is room", "400", "what there is room for", "what there is room for", answers({ max_tokens: 1_000_000 })),
  c("the context: too long", "400 context_length_exceeded", "400 exceed_context_size_error", "as OpenAI", async (server) => {
    await refused(server, CHAT, { ...TRIANGLE, messages: user("shape ".repeat(4000)) }, 400, "messages", "context_length_exceeded");
  }),
  c("temperature", "0 … 2, 1 by default", "0.8 by default", "as OpenAI", async (server) => {
    for (const temperature of [-0.1, 2.1, "hot", true]) await wrong("temperature", { temperature })(server);
    const drawn = await ok(server, CHAT, { ...TRIANGLE, temperature: undefined, seed: 3, max_tokens: 4 });
    expect(drawn.choices[0].message.content).toBe(
      (await chat(server, { temperature: 1, seed: 3, max_tokens: 4 })).choices[0].message.content,
    );
  }),
  c("top_p", "0 … 1, 1 by default", "taken, 0.95 by default", "as OpenAI", async (server) => {
    await answers({ temperature: 2, top_p: 0 })(server); // the most probable alone
    await wrong("top_p", { top_p: 1.1 })(server);
  }),
  c("top_k", "none: 400", "taken, 40 by default", "taken; 0 and -1 are off", async (server) => {
    await answers({ temperature: 2, top_k: 1 })(server);
    await chat(server, { top_k: -1 });
    await wrong("top_k", { top_k: -2 })(server);
  }),
  c("min_p", "none: 400", "taken, 0.05 by default", "taken", async (server) => {
    await answers({ temperature: 2, min_p: 1 })(server);
    await wrong("min_p", { min_p: 2 })(server);
  }),
  c("repetition_penalty", "none: 400", "as repeat_penalty", "taken", async (server) => {
    await answers({ repetition_penalty: 1.01 })(server);
    await wrong("repetition_penalty", { repetition_penalty: 0 })(server);
  }),
  c("presence_penalty, frequency_penalty", "-2 … 2", "taken", "as OpenAI, of the answer's own tokens", async (server) => {
    await answers({ presence_penalty: 0.5, frequency_penalty: -0.5 })(server);
    // What is thrown in every time comes once only where it is taken from what has come.
    const bias = { logit_bias: { 65: 60 }, max_tokens: 4, logprobs: true };
    const tokens = async (more: object) =>
      (await chat(server, { ...bias, ...more })).choices[0].logprobs.content.map(({ token }: Json) => token);
    expect(new Set(await tokens({})).size).toBe(1);
    const less = { frequency_penalty: 2, presence_penalty: 2, logit_bias: { 65: 22 } };
    expect(new Set(await tokens(less)).size).toBeGreaterThan(1);
    for (const value of [3, "1", -2.1]) await wrong("frequency_penalty", { frequency_penalty: value })(server);
    await wrong("presence_penalty", { presence_penalty: 2.1 })(server);
  }),
  c("seed", "the same seed, the same answer, as far as can be", "-1 is random", "the same seed, the same ids", async (server) => {
    const drawn = async (seed: number) => textOf(await chat(server, { temperature: 2, seed, max_tokens: 8 }));
    expect(await drawn(7)).toBe(await drawn(7));
    expect(new Set(await Promise.all([1, 2, 3, -4].map(drawn))).size).toBeGreaterThan(1);
    await wrong("seed", { seed: 1.5 })(server);
  }),
  c("stop", "a text or up to 4", "a text or a list", "a text or up to 64", async (server) => {
    const answer = await chat(server, { stop: " tri" });
    expect(answer.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "A" } });
    expect(textOf(await chat(server, { stop: ["x", "angle"] }))).toBe("A tri");
    await wrong("stop", { stop: 5 })(server);
  }),
  c("n", "1 … 128", "as many as it has slots", "1 … 128; the i-th has seed + i", async (server) => {
    const answer = await chat(server, { n: 3, temperature: 2, seed: 5, max_tokens: 6 });
    expect(answer.choices.map(({ index }: Json) => index)).toEqual([0, 1, 2]);
    expect(textOf(answer, 2)).toBe(textOf(await chat(server, { temperature: 2, seed: 7, max_tokens: 6 })));
    expect(answer.usage.prompt_tokens).toBe(42);
    for (const n of [0, 129, 1e9, "2"]) await wrong("n", { n })(server);
  }),
  c("logprobs, top_logprobs", "token, logprob, bytes, the most probable", SAME, "by the GPU's own logits", async (server) => {
    const { choices } = await chat(server, { logprobs: true, top_logprobs: 3 });
    const { content } = choices[0].logprobs;
    expect(content.map(({ token }: Json) => token)).toEqual(["A", " triangle", "."]);
    for (const { token, logprob, bytes, top_logprobs } of content) {
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top_logprobs).toHaveLength(3);
      expect(top_logprobs[0]).toEqual({ token, logprob, bytes }); // greedy
      expect(top_logprobs.reduce((sum: number, each: Json) => sum + Math.exp(each.logprob), 0)).toBeLessThanOrEqual(1 + 1e-9);
    }
  }),
  c("top_logprobs without logprobs, or above 20", "400", "400; taken", "400", async (server) => {
    await wrong("top_logprobs", { top_logprobs: 2 })(server);
    await wrong("top_logprobs", { logprobs: true, top_logprobs: 21 })(server);
  }),
  c("logit_bias", "by token id, -100 … 100", "ids or texts", "as OpenAI, up to 1024", async (server) => {
    await answers({ logit_bias: {} })(server);
    const id = (await ok(server, "/tokenize", { prompt: "A" })).tokens[0];
    expect(textOf(await chat(server, { logit_bias: { [id]: -100 } }))).not.toMatch(/^A /);
    expect(textOf(await chat(server, { logit_bias: { [id]: 100 }, max_tokens: 3 }))).toBe("AAA");
    for (const logit_bias of [{ x: 1 }, { 1e9: 1 }, { 99999: 1 }, []]) await wrong("logit_bias", { logit_bias })(server);
    await wrong("logit_bias[5]", { logit_bias: { 5: 101 } })(server);
  }),
  c("response_format: text, another type", "text; 400", SAME, SAME, async (server) => {
    await answers({ response_format: { type: "text" } })(server);
    await wrong("response_format.type", { response_format: { type: "xml" } })(server);
    await wrong("response_format", { response_format: "json" })(server);
  }),
  c(
    "response_format: json_object",
    "JSON, where the messages say so",
    "JSON",
    "an object of JSON, or cut off by max_tokens",
    async (server) => {
      const answer = await chat(server, { response_format: { type: "json_object" }, max_tokens: 150, temperature: 1, seed: 6 });
      const { finish_reason, message } = answer.choices[0];
      if (finish_reason === "stop") expect(typeof JSON.parse(message.content)).toBe("object");
      expect(message.content).toMatch(/^\{/);
      expect((await chat(server, { response_format: { type: "json_object" }, max_tokens: 1 })).choices[0].finish_reason).toBe("length");
    },
  ),
  c("response_format: json_schema", "enforced where strict", "enforced", "enforced, strict or not", async (server) => {
    for (const strict of [true, false, null, undefined]) {
      const json_schema = { name: "shape", strict, schema: SHAPE_SCHEMA };
      const { choices } = await chat(server, { response_format: { type: "json_schema", json_schema }, temperature: 1, seed: 1 });
      expect(choices[0].finish_reason).toBe("stop");
      const { shape, sides } = JSON.parse(choices[0].message.content);
      expect(["circle", "triangle"]).toContain(shape);
      expect(sides >= 0 && sides <= 9).toBe(true);
    }
    const json_schema = { name: "shape", schema: SHAPE_SCHEMA };
    const chunks = await streamed(server, { response_format: { type: "json_schema", json_schema } });
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    expect(Object.keys(JSON.parse(text))).toEqual(["shape", "sides"]);
  }),
  c("response_format: json_schema: what cannot be enforced", "400", "passed over", "400, naming it", async (server) => {
    const of = (schema: unknown) => ({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } });
    const error = await refused(
      server,
      CHAT,
      { ...TRIANGLE, ...of({ type: "array", uniqueItems: true }) },
      400,
      "response_format.json_schema.schema",
    );
    expect(error.message).toContain("uniqueItems");
    expect(error.type).toBe("invalid_request_error");
    await wrong("response_format.json_schema.schema", of("text"))(server);
    await wrong("response_format.json_schema.schema", { ...of({ not: {} }), stream: true })(server);
    await wrong("response_format.json_schema.name", { response_format: { type: "json_schema", json_schema: { name: "a b", schema: {} } } })(
      server,
    );
    await wrong("response_format.json_schema", { response_format: { type: "json_schema" } })(server);
  }),
  c("response_format with tools", "either", "by the template", "either", async (server) => {
    const tools = [{ type: "function", function: { name: "add", parameters: SHAPE_SCHEMA } }];
    const response_format = { type: "json_schema", json_schema: { name: "x", schema: { type: "integer", minimum: 1, maximum: 3 } } };
    const { choices } = await chat(server, { tools, response_format, temperature: 1, seed: 2 });
    const [{ message }] = choices;
    if (message.tool_calls) expect(message.tool_calls[0].function.name).toBe("add");
    else expect(["1", "2", "3"]).toContain(message.content);
  }),
  c("logprobs with a schema", "not said", "of the model's own distribution", "of the model's own distribution", async (server) => {
    const json_schema = { name: "shape", schema: SHAPE_SCHEMA };
    const { choices } = await chat(server, { response_format: { type: "json_schema", json_schema }, logprobs: true, top_logprobs: 2 });
    const { content } = choices[0].logprobs;
    expect(content.map(({ token }: Json) => token).join("")).toBe(choices[0].message.content);
    expect(content[0].top_logprobs[0].token).toBe("A"); // what it would have said
    expect(content[0].logprob).toBeLessThan(content[0].top_logprobs[0].logprob);
  }),
  c("tools", "taken", "by the template", "in Qwen2.5's form", async (server) => {
    const tools = [{ type: "function", function: { name: "add", description: "Adds.", parameters: { type: "object", properties: {} } } }];
    const tokens = async (more: object) => (await chat(server, { ...more, max_tokens: 1 })).usage.prompt_tokens;
    expect(await tokens({ tools })).toBeGreaterThan(100);
    expect(await tokens({ tools, tool_choice: "none" })).toBe(42);
    await wrong("tools[0].function.name", { tools: [{ type: "function", function: { name: "a b" } }] })(server);
  }),
  c(
    "tool_choice: required, a function",
    "forces a call",
    "forces a call; as auto",
    "forces a call, its arguments by the function's schema",
    async (server) => {
      const of = (name: string, key: string) => ({
        type: "function",
        function: {
          name,
          parameters: { type: "object", properties: { [key]: { type: "integer", minimum: 1, maximum: 99 } }, required: [key] },
        },
      });
      const tools = [of("add", "a"), of("take", "b"), { type: "function", function: { name: "stop" } }];
      const forced = async (more: object) =>
        (await chat(server, { tools, temperature: 1, seed: 3, parallel_tool_calls: false, ...more })).choices[0];
      const any = await forced({ tool_choice: "required" });
      expect(any.message.tool_calls).toHaveLength(1);
      expect(["add", "take", "stop"]).toContain(any.message.tool_calls[0].function.name);
      for (const [name, key] of [
        ["add", "a"],
        ["take", "b"],
      ] as const) {
        const { message, finish_reason } = await forced({ tool_choice: { type: "function", function: { name } } });
        expect([finish_reason, message.content]).toEqual(["tool_calls", null]);
        const [{ function: called, id, type }] = message.tool_calls;
        expect([called.name, type, typeof called.arguments]).toEqual([name, "function", "string"]);
        expect(id).toMatch(/^call_/);
        expect(JSON.parse(called.arguments)[key]).toBeGreaterThan(0);
      }
      const stop = await forced({ tool_choice: { type: "function", function: { name: "stop" } } });
      expect(stop.message.tool_calls[0].function.arguments).toBe("{}");
      const chunks = await streamed(server, { tools, tool_choice: "required", max_tokens: 400 });
      expect(chunks.flatMap(({ choices }) => choices[0].delta.tool_calls ?? []).length).toBeGreaterThan(0);
      const cut = await forced({ tool_choice: "required", max_tokens: 3 });
      expect(cut).toMatchObject({ finish_reason: "length" });
      // Cut within the arguments: what came of them, also as a stream.
      const { tool_calls: whole } = (await forced({ tool_choice: { type: "function", function: { name: "add" } } })).message;
      for (const max_tokens of [20, 24, 28]) {
        const more = { tools, tool_choice: { type: "function", function: { name: "add" } }, temperature: 1, seed: 3, max_tokens };
        const { message, finish_reason } = (await chat(server, { ...more, parallel_tool_calls: false })).choices[0];
        const pieces = await streamed(server, { ...more, parallel_tool_calls: false });
        const said = pieces.flatMap(({ choices }) => choices[0].delta.tool_calls ?? []).map(({ function: each }) => each.arguments);
        expect(said.join("")).toBe(message.tool_calls?.[0].function.arguments ?? "");
        expect(pieces.at(-1).choices[0].finish_reason).toBe(finish_reason);
        if (finish_reason === "length") expect(whole[0].function.arguments.startsWith(said.join(""))).toBe(true);
      }
      await wrong("tool_choice", { tools, tool_choice: "maybe" })(server);
      await wrong("tool_choice", { tools, tool_choice: { type: "function", function: { name: "other" } } })(server);
      await wrong("tools", { tools: [], tool_choice: "required" })(server);
      const odd = [{ type: "function", function: { name: "odd", parameters: { type: "object", minProperties: 1 } } }];
      await wrong("tools[0].function.parameters", { tools: odd, tool_choice: "required" })(server);
    },
  ),
  c(
    "parallel_tool_calls",
    "true by default",
    "by the template, false by default",
    "several calls where one is forced, but not with false",
    async (server) => {
      const tools = [{ type: "function", function: { name: "stop" } }];
      const line = (await ok(server, "/tokenize", { prompt: "\n" })).tokens[0]; // what comes between two
      const counts = await Promise.all(
        [true, false].flatMap((parallel_tool_calls) =>
          [1, 2].map(async (seed) => {
            const more = {
              tools,
              tool_choice: "required",
              temperature: 1,
              seed,
              parallel_tool_calls,
              logit_bias: { [line]: 100 },
              max_tokens: 90,
            };
            return [parallel_tool_calls, (await chat(server, more)).choices[0].message.tool_calls.length] as const;
          }),
        ),
      );
      expect(counts.filter(([several]) => !several).every(([, count]) => count === 1)).toBe(true);
      expect(counts.some(([several, count]) => several && count > 1)).toBe(true);
      await wrong("parallel_tool_calls", { parallel_tool_calls: "no" })(server);
    },
  ),
  c("messages[].role: tool; tool_calls", "taken", "by the template", "in Qwen2.5's form", async (server) => {
    const call = { id: "call_1", type: "function", function: { name: "add", arguments: '{"a":1}' } };
    const said = [
      { role: "user", content: "Add." },
      { role: "assistant", content: null, tool_calls: [call] },
    ];
    await chat(server, { messages: [...said, { role: "tool", tool_call_id: "call_1", content: "2" }], max_tokens: 1 });
    await wrong("messages[2].tool_call_id", { messages: [...said, { role: "tool", content: "2" }] })(server);
    const damaged = { ...call, function: { name: "add", arguments: "{" } };
    await wrong("messages[1].tool_calls[0].function.arguments", {
      messages: [said[0], { role: "assistant", tool_calls: [damaged] }, said[0]],
    })(server);
  }),
  c(
    "user, metadata, store, service_tier, …",
    "taken",
    "ignored",
    "taken, without effect",
    answers({
      user: "u",
      metadata: { a: "b" },
      store: false,
      service_tier: "auto",
      safety_identifier: "s",
      prompt_cache_key: "k",
      parallel_tool_calls: true,
    }),
  ),
  c("audio, functions, reasoning_effort, …", "by the model: 400", "ignored", "400", async (server) => {
    for (const field of ["audio", "prediction", "web_search_options", "functions", "function_call", "reasoning_effort", "verbosity"]) {
      await wrong(field, { [field]: {} })(server);
    }
    await wrong("modalities", { modalities: ["text", "audio"] })(server);
    await answers({ modalities: ["text"] })(server);
  }),
  c("an unknown field", "400 Unrecognized request argument", "ignored", "400, with what was probably meant", async (server) => {
    const error = await refused(server, CHAT, { ...TRIANGLE, temprature: 1 }, 400, "temprature");
    expect(error.message).toContain('Unrecognized request argument supplied: temprature; did you mean "temperature"?');
    expect(error.type).toBe("invalid_request_error");
  }),
  c(
    "null in place of a value",
    "as if absent",
    "as if absent",
    "as if absent",
    answers({ stop: null, n: null, max_tokens: null, logprobs: null, tools: null, stream_options: null }),
  ),
  c("stream", "server-sent events, role first, [DONE] last", SAME, SAME, async (server) => {
    const chunks = await streamed(server);
    expect(chunks[0].choices[0]).toEqual({ index: 0, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null });
    expect(chunks.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe("A triangle.");
    expect(chunks.at(-1).choices[0]).toEqual({ index: 0, delta: {}, logprobs: null, finish_reason: "stop" });
    expect(new Set(chunks.map(({ id, object, model }) => [id, object, model].join())).size).toBe(1);
    expect(chunks.every((chunk) => !("usage" in chunk))).toBe(true);
    expect(chunks.at(-1).timings.predicted_n).toBe(4);
  }),
  c(
    "stream_options.include_usage",
    "usage in a last chunk without choices, null before",
    "the same, none before",
    "as OpenAI",
    async (server) => {
      const chunks = await streamed(server, { stream_options: { include_usage: true } });
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 4, total_tokens: 46 } });
      expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    },
  ),
  c("stream_options without stream", "400", "ignored", "400", wrong("stream_options", { stream_options: { include_usage: true } })),
  c("stream: n", "chunks of every index", SAME, SAME, async (server) => {
    const chunks = await streamed(server, { n: 2 });
    for (const i of [0, 1]) {
      const own = chunks.filter(({ choices }) => choices[0].index === i);
      expect(own.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe("A triangle.");
      expect(own.filter(({ choices }) => choices[0].finish_reason)).toHaveLength(1);
    }
  }),
  c("stream: logprobs", "beside each chunk's text", SAME, SAME, async (server) => {
    const chunks = await streamed(server, { logprobs: true });
    const tokens = chunks.flatMap(({ choices }) => choices[0].logprobs?.content ?? []).map(({ token }) => token);
    expect(tokens).toEqual(["A", " triangle", "."]);
  }),
  c("stream: an error before the first chunk", "its status, no stream", SAME, SAME, async (server) => {
    await refused(
      server,
      CHAT,
      { ...TRIANGLE, stream: true, messages: user("shape ".repeat(4000)) },
      400,
      "messages",
      "context_length_exceeded",
    );
  }),
  c("stream: a text", "400", "false", "400", wrong("stream", { stream: "yes" })),
  c("the body: no JSON, no object", "400", "500, 400", "400", async (server) => {
    const response = await server.post(CHAT, undefined, { body: "{" });
    expect(response.status).toBe(400);
    expect((await response.json()).error.type).toBe("invalid_request_error");
    for (const body of [5, [], "x", null]) expect((await server.post(CHAT, body)).status).toBe(400);
  }),
  c("content type: another than JSON", "400", "taken", "415", async (server) => {
    const response = await server.post(CHAT, TRIANGLE, { headers: { "content-type": "text/plain" } });
    expect(response.status).toBe(415);
  }),
  t("the answer", "object text_completion, choices with text", SAME, SAME, async (server) => {
    const answer = await complete(server);
    expect(answer).toMatchObject({
      object: "text_completion",
      id: expect.stringMatching(/^cmpl-/),
      choices: [{ index: 0, logprobs: null }],
    });
    expect(answer.usage.completion_tokens).toBeLessThanOrEqual(16);
  }),
  t("prompt: a list", "an answer to each", "taken", "an answer to each", async (server) => {
    const answer = await complete(server, { prompt: ["The shape is", "A"], n: 2, max_tokens: 2 });
    expect(answer.choices.map(({ index }: Json) => index)).toEqual([0, 1, 2, 3]);
  }),
  t("prompt: token ids", "taken", "taken", "taken", async (server) => {
    const { tokens } = await ok(server, "/tokenize", { prompt: "The shape is" });
    const [ids, text] = [await complete(server, { prompt: tokens }), await complete(server)];
    expect(ids.choices[0].text).toBe(text.choices[0].text);
    await refused(server, TEXT, { prompt: [999_999_999] }, 400, "prompt");
  }),
  t("prompt: empty or absent", "<|endoftext|>", "taken; 500", "400", async (server) => {
    for (const prompt of ["", [], undefined, 5, {}]) await refused(server, TEXT, { prompt }, 400, "prompt");
  }),
  t("max_tokens", "16 by default", "no limit", "16 by default", async (server) => {
    expect((await complete(server, { max_tokens: 1 })).usage.completion_tokens).toBe(1);
  }),
  t("echo", "the prompt before its answer", "500", "as OpenAI, without logprobs", async (server) => {
    const [plain, echoed] = [await complete(server, { max_tokens: 3 }), await complete(server, { echo: true, max_tokens: 3 })];
    expect(echoed.choices[0].text).toBe(`The shape is${plain.choices[0].text}`);
  }),
  t("logprobs", "0 … 5", "taken", "0 … 5", async (server) => {
    const { text, logprobs } = (await complete(server, { logprobs: 2, max_tokens: 3 })).choices[0];
    expect(text.startsWith(logprobs.tokens.slice(0, 2).join(""))).toBe(true);
    expect(Object.keys(logprobs.top_logprobs[0])).toHaveLength(2);
    expect(logprobs.text_offset[0]).toBe(0);
    await refused(server, TEXT, { prompt: "x", logprobs: 6 }, 400, "logprobs");
  }),
  t("suffix, best_of", "taken", "500", "400", async (server) => {
    await refused(server, TEXT, { prompt: "x", suffix: "y" }, 400, "suffix");
    await refused(server, TEXT, { prompt: "x", best_of: 5 }, 400, "best_of");
  }),
  t("stream", "chunks with text, [DONE] last", SAME, SAME, async (server) => {
    const base = { model: MODEL, prompt: "The shape is", temperature: 0, stream_options: { include_usage: true } };
    const chunks = await streamed(server, {}, TEXT, base);
    const whole = (await complete(server)).choices[0].text;
    expect(chunks.map(({ choices }) => choices[0]?.text ?? "").join("")).toBe(whole);
    expect(chunks.at(-1).choices).toEqual([]);
  }),
  row(
    "/v1/models",
    "list",
    "id, object, created, owned_by",
    "and meta",
    "and max_model_len, context_length, architecture",
    async (server) => {
      const { object, data }: Json = await (await fetch(`${server.url}/v1/models`)).json();
      expect(object).toBe("list");
      expect(data).toMatchObject([
        { id: MODEL, object: "model", max_model_len: 2048, architecture: { input_modalities: ["text", "image"] } },
      ]);
    },
  ),
  row("/v1/models", "/v1/models/ID", "one, or 404", "404", "one, or 404", async (server) => {
    expect((await fetch(`${server.url}/v1/models/${MODEL}`)).status).toBe(200);
    const missing = await fetch(`${server.url}/v1/models/org/none`);
    expect([missing.status, (await missing.json()).error.code]).toEqual([404, "model_not_found"]);
  }),
  row("/health", "state", "none", "200 ok, 503 while it loads", "as llama-server, with progress", async (server) => {
    const health = await fetch(`${server.url}/health`);
    expect([health.status, await health.json()]).toEqual([200, { status: "ok" }]);
  }),
  row("/metrics", "Prometheus", "none", "with --metrics, llamacpp:…", "vllm:… names", async (server) => {
    await chat(server);
    const response = await fetch(`${server.url}/metrics`);
    const text = await response.text();
    for (const name of ["vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"]) {
      expect(text).toMatch(new RegExp(`^# TYPE ${name} gauge\n${name}\\{model_name="nano"\\} [\\d.e-]+$`, "m"));
    }
    expect(text).toMatch(/^vllm:time_to_first_token_seconds_bucket\{model_name="nano",le="\+Inf"\} \d+$/m);
    expect(Number(/^vllm:generation_tokens_total\S* (\d+)$/m.exec(text)![1])).toBeGreaterThanOrEqual(4);
    for (const line of text.trimEnd().split("\n")) expect(line).toMatch(/^(# (HELP|TYPE) \S+ .+|[\w:]+\{[^{}]*\} [\d.e+-]+)$/);
  }),
  row("/tokenize", "prompt or content", "none", "content: tokens", "either: tokens, count, max_model_len", async (server) => {
    const one = await ok(server, "/tokenize", { prompt: "A triangle." });
    expect(one).toEqual({ tokens: expect.any(Array), count: 3, max_model_len: 2048 });
    expect(await ok(server, "/tokenize", { content: "A triangle." })).toEqual(one);
    await refused(server, "/tokenize", {}, 400, "prompt");
  }),
  row("/tokenize", "messages", "none", "with /apply-template", "the whole prompt's", async (server) => {
    expect((await ok(server, "/tokenize", { messages: TRIANGLE.messages })).count).toBe(42);
  }),
  row("/detokenize", "tokens", "none", "content", "prompt and content", async (server) => {
    const { tokens } = await ok(server, "/tokenize", { prompt: "Grüße 🙂" });
    expect(await ok(server, "/detokenize", { tokens })).toEqual({ prompt: "Grüße 🙂", content: "Grüße 🙂" });
    await refused(server, "/detokenize", { tokens: [-1] }, 400, "tokens");
  }),
  row("any other", "unknown route", "404 in its error form", "404", "404 in OpenAI's error form", async (server) => {
    await refused(server, "/v1/embeddings", {}, 404, null, "not_found");
  }),
  row("any other", "wrong method", "405", "404", "405 with Allow", async (server) => {
    const response = await fetch(`${server.url}/v1/chat/completions`);
    expect([response.status, response.headers.get("allow"), (await response.json()).error.code]).toEqual([
      405,
      "POST",
      "method_not_allowed",
    ]);
  }),
];

/** The table of docs/serving.md. */
export const tableOf = (rows: readonly Row[]): string =>
  [
    "| endpoint | field | OpenAI documents | llama-server | this server |",
    "| --- | --- | --- | --- | --- |",
    ...rows.map(
      ({ endpoint, field, openai, llama, ours }) =>
        `| ${[endpoint, field, openai, llama, ours].map((cell) => cell.replaceAll("|", "\\|").replaceAll("<", "&lt;")).join(" | ")} |`,
    ),
  ].join("\n");
