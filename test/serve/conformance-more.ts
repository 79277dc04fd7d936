import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect } from "vitest";
import { partsOf } from "../../src/api/internvl.ts";
import { c, chat, type Json, ok, type Row, refused, row, SAME, streamed, user } from "./conformance.ts";
import { MODEL, TRIANGLE } from "./server.ts";

const CHAT = "/v1/chat/completions";

/** What follows is the table's end: calls of strict tools, streams that are cut in odd places, addresses that are almost right. */
const of = (name: string, strict: boolean) => ({
  type: "function",
  function: {
    name,
    strict,
    parameters: { type: "object", properties: { sides: { enum: [3, 4] } }, required: ["sides"], additionalProperties: false },
  },
});

const deltas = (chunks: Json[]): string => chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");

export const MORE: Row[] = [
  c(
    "tools[].function.strict, tool_choice: auto",
    "arguments by the schema",
    "by the template's grammar",
    "text is free; a call that begins has a tool's name and, of a strict one, arguments by its schema",
    async (server) => {
      const { tokens } = await ok(server, "/tokenize", { prompt: "<tool_call>", parse_special: true });
      expect(tokens).toHaveLength(1);
      const begun = { tools: [of("qab", true), of("qcd", true)], logit_bias: { [tokens[0]]: 100 }, temperature: 1.2, seed: 4 };
      const alone = await chat(server, { ...begun, parallel_tool_calls: false });
      const [call, ...others] = alone.choices[0].message.tool_calls;
      expect([alone.choices[0].finish_reason, alone.choices[0].message.content, others]).toEqual(["tool_calls", null, []]);
      expect(["qab", "qcd"]).toContain(call.function.name);
      expect(['{"sides":3}', '{"sides":4}']).toContain(call.function.arguments);
      // Streamed, several: each call's name first, then its arguments; the last one is cut.
      const chunks = await streamed(server, { ...begun, max_tokens: 90 });
      const calls: Json[] = [];
      for (const { index, id, type, function: said } of chunks.flatMap(({ choices }) => choices[0].delta.tool_calls ?? [])) {
        if (index === calls.length) {
          calls.push({ arguments: "" });
          expect([typeof id, type, typeof said.name]).toEqual(["string", "function", "string"]);
        } else expect([index, id, type, said.name]).toEqual([calls.length - 1, undefined, undefined, undefined]);
        calls[index].arguments += said.arguments;
      }
      expect(calls.length).toBeGreaterThan(1);
      expect(chunks.at(-1).choices[0].finish_reason).toBe("length");
      for (const called of calls.slice(0, -1)) expect(['{"sides":3}', '{"sides":4}']).toContain(called.arguments);
      expect('{"sides":3}{"sides":4}').toContain(calls.at(-1).arguments);
      // Where nothing calls, the text is that of tools that are not strict.
      const free = (strict: boolean) => streamed(server, { tools: [of("qab", strict)], max_tokens: 8 });
      expect(deltas(await free(true))).toBe(deltas(await free(false)));
      await refused(
        server,
        CHAT,
        { ...TRIANGLE, tools: [{ type: "function", function: { name: "a", strict: "yes" } }] },
        400,
        "tools[0].function.strict",
      );
      const odd = { name: "odd", strict: true, parameters: { type: "object", minProperties: 1 } };
      await refused(server, CHAT, { ...TRIANGLE, tools: [{ type: "function", function: odd }] }, 400, "tools[0].function.parameters");
      await chat(server, { tools: [{ type: "function", function: { ...odd, strict: false } }], max_tokens: 1 });
    },
  ),
  c("messages[].content: an empty text", "taken", "taken", "taken", async (server) => {
    expect((await chat(server, { messages: user(""), max_tokens: 2 })).usage.completion_tokens).toBe(2);
  }),
  c("messages: only of the system", "taken", "by the template", "400", (server) =>
    refused(server, CHAT, { ...TRIANGLE, messages: [{ role: "system", content: "Be brief." }] }, 400, "messages").then(() => {}),
  ),
  c("messages[]: an answer's own message, sent back", "taken", "by the template", "taken, also a refusal's part", async (server) => {
    const asked = user("Hello, who are you?");
    const back = { role: "assistant", content: "x", refusal: null, annotations: [], audio: null, function_call: null, tool_calls: null };
    const refusal = { role: "assistant", content: [{ type: "refusal", refusal: "x" }] };
    const [one, other] = await Promise.all(
      [back, refusal].map((each) => chat(server, { messages: [...asked, each, ...asked], max_tokens: 4 })),
    );
    expect(one.choices).toEqual(other.choices);
    const call = { ...back, function_call: { name: "f", arguments: "{}" } };
    await refused(server, CHAT, { ...TRIANGLE, messages: [...asked, call, ...asked] }, 400, "messages[1].function_call");
    const param = "messages[0].content[0].type";
    await refused(server, CHAT, { ...TRIANGLE, messages: [{ role: "user", content: refusal.content }] }, 400, param);
    const image = { type: "input_image", image_url: "data:image/png;base64,AAAA" }; // of another endpoint
    await refused(server, CHAT, { ...TRIANGLE, messages: [{ role: "user", content: [image] }] }, 400, param);
  }),
  c("tools of type custom, tool_choice: allowed_tools", "taken", "400; as auto", "400", async (server) => {
    await refused(server, CHAT, { ...TRIANGLE, tools: [{ type: "custom", custom: { name: "a" } }] }, 400, "tools[0].custom");
    const tool_choice = { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [] } };
    await refused(server, CHAT, { ...TRIANGLE, tools: [of("a", false)], tool_choice }, 400, "tool_choice.allowed_tools");
  }),
  c("seed: negative, above 2^53", "64 bits", "32 bits", "taken, modulo 2^53", async (server) => {
    const drawn = (seed: number) => chat(server, { temperature: 1.5, seed, max_tokens: 8 });
    const [low, same, high, seven] = await Promise.all([-1, 2 ** 53 - 1, 7 * 2 ** 60, 0].map(drawn));
    expect([low.choices, high.choices]).toEqual([same.choices, seven.choices]);
    await refused(server, CHAT, { ...TRIANGLE, seed: 1.5 }, 400, "seed");
  }),
  c("the body: compressed, in another charset", "not said", "415; charset ignored", "415", async (server) => {
    const asked = (headers: Record<string, string>) =>
      server.post(CHAT, { ...TRIANGLE, max_tokens: 1 }, { headers: { "content-type": "application/json", ...headers } });
    for (const headers of [{ "content-encoding": "gzip" }, { "content-type": "application/json; charset=utf-16" }]) {
      const response = await asked(headers as unknown as Record<string, string>);
      expect([response.status, ((await response.json()) as Json).error.type]).toEqual([415, "invalid_request_error"]);
    }
    expect((await asked({ "content-type": 'Application/JSON; Charset="UTF-8"', "content-encoding": "identity" })).status).toBe(200);
  }),
  row("/v1/completions", "max_tokens: 0", "taken with echo", "the prompt alone is computed", "400", (server) =>
    refused(server, "/v1/completions", { prompt: "a", max_tokens: 0, echo: true }, 400, "max_tokens").then(() => {}),
  ),
  c("video_url: an address", "none", "none", "400", (server) =>
    refused(
      server,
      CHAT,
      { ...TRIANGLE, messages: user([{ type: "video_url", video_url: { url: "http://127.0.0.1/a.mp4" } }]) },
      400,
      "messages[0].content[0].video_url.url",
    ).then(() => {}),
  ),
  c("stream: stop across tokens", "not a character of it", SAME, SAME, async (server) => {
    for (const [stop, text] of [
      ["triang", "A"], // spaces at an answer's end are none of it, as upstream has it
      ["le.", "A triang"],
      [["x", " triangle."], "A"],
    ] as const) {
      const chunks = await streamed(server, { stop });
      expect([deltas(chunks), chunks.at(-1).choices[0].finish_reason]).toEqual([text, "stop"]);
    }
  }),
  c("stream: a character of several tokens", "whole characters", SAME, SAME, async (server) => {
    const said = "größe 🙂 名";
    const schema = { type: "object", properties: { said: { const: said } }, required: ["said"], additionalProperties: false };
    const chunks = await streamed(server, { response_format: { type: "json_schema", json_schema: { name: "said", schema } } });
    for (const { choices } of chunks) expect(choices[0].delta.content ?? "").not.toMatch(/\ufffd|[\ud800-\udbff]$/);
    expect(JSON.parse(deltas(chunks))).toEqual({ said });
  }),
  c("stream: max_tokens 1", "role, a piece, finish_reason length", SAME, SAME, async (server) => {
    const chunks = await streamed(server, { max_tokens: 1 });
    expect([deltas(chunks), chunks.at(-1).choices[0].finish_reason]).toEqual(["A", "length"]);
  }),
  row(
    "any other",
    "a client that closes its side after its request",
    "not said",
    "has gone",
    "has gone: its slot is free",
    async (server) => {
      const body = JSON.stringify({ ...TRIANGLE, messages: user("Count."), n: 12, max_tokens: 1000, temperature: 2 });
      const socket = connect({ port: Number(new URL(server.url).port), host: "127.0.0.1", allowHalfOpen: true });
      socket.write(
        `POST ${CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      const { scheduler } = partsOf(server.vlm);
      await expect.poll(() => scheduler.load.running, { interval: 1 }).toBeGreaterThan(0);
      socket.end();
      expect(await text(socket)).toBe("");
      await expect.poll(() => scheduler.load.running, { interval: 1 }).toBe(0);
    },
  ),
  row("any other", "HEAD", "not said", "as GET, without the body", "as GET, without the body", async (server) => {
    const response = await fetch(`${server.url}/v1/models`, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  }),
  row("any other", "OPTIONS", "not said", "200 to all pages", "204 to --cors' pages, else 403", async (server) => {
    const response = await fetch(`${server.url}${CHAT}`, { method: "OPTIONS", headers: { origin: "http://a.example" } });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  }),
  row("any other", "a path without /v1, with a slash too many", "404", "taken; 404", "404 that names the right one", async (server) => {
    for (const path of ["/chat/completions", "//v1/chat/completions", "/v1//chat/completions/"]) {
      const error = await refused(server, path, { model: MODEL }, 404, null, "not_found");
      expect(error.message).toContain("did you mean /v1/chat/completions?");
    }
  }),
];
