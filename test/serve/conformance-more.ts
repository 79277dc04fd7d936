import { expect } from "vitest";
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
      // Streamed, several: each call in one delta, with its place.
      const chunks = await streamed(server, { ...begun, max_tokens: 90 });
      const calls = chunks.flatMap(({ choices }) => choices[0].delta.tool_calls ?? []);
      expect(calls.length).toBeGreaterThan(1);
      expect(calls.map(({ index }) => index)).toEqual(calls.map((_, i) => i));
      for (const { id, type, function: called } of calls) {
        expect([typeof id, type, JSON.parse(called.arguments).sides > 2]).toEqual(["string", "function", true]);
      }
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
  row("any other", "HEAD", "405", "as GET, without the body", "as GET, without the body", async (server) => {
    const response = await fetch(`${server.url}/v1/models`, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  }),
  row("any other", "OPTIONS", "204 to allowed pages", "204 to all pages", "204 to --cors' pages, else 403", async (server) => {
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
