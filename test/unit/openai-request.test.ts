import { expect, it } from "vitest";
import { acceptCompletion } from "../../src/api/openai.ts";
import { dialogue } from "../../src/api/openai-messages.ts";
import { EngineError } from "../../src/errors.ts";
import { failureOf } from "../../src/server/failure.ts";

// What a chat completion's request comes to.

const called = (...ids: string[]) => ({
  role: "assistant",
  content: null,
  tool_calls: ids.map((id) => ({ id, type: "function", function: { name: `of_${id}`, arguments: "{}" } })),
});
const result = (tool_call_id: string) => ({ role: "tool", tool_call_id, content: `result of ${tool_call_id}` });
const user = (content: string) => ({ role: "user", content });

it("results stand in the order of their calls, whichever came first: the prompt has no other way to say whose they are", () => {
  const question = (...messages: object[]) => dialogue([user("a"), ...messages], 1).question.text;
  const inOrder = question(called("one", "two"), result("one"), result("two"));
  expect(inOrder.indexOf("result of one")).toBeLessThan(inOrder.indexOf("result of two"));
  expect(question(called("one", "two"), result("two"), result("one"))).toBe(inOrder);
  expect(question(called("one", "two"), result("other"), result("two"), result("one"))).toBe(
    `${inOrder}\n${question(called("x"), result("other"))}`,
  );
  // Each call's results behind it only.
  const twice = dialogue([user("a"), called("one"), result("one"), called("one", "two"), result("two"), result("one")], 1);
  expect(twice.turns.map(({ asked }) => asked.text)).toEqual(["a", question(called("one"), result("one"))]);
  expect(twice.question.text).toBe(inOrder);
  // A wrong one is called by where the caller has it.
  const wrong = [user("a"), called("one", "two"), { ...result("two"), content: 5 }, result("one")];
  expect(() => dialogue(wrong, 1)).toThrow(/messages\[2\]\.content/);
});

it("an assistant's refusal is what it said where it has no content", () => {
  const turns = (message: object) => dialogue([user("a"), { role: "assistant", ...message }, user("b")], 1).turns;
  expect(turns({ content: null, refusal: "I will not." })).toEqual(turns({ content: "I will not." }));
  expect(turns({ content: "Well.", refusal: null })).toEqual(turns({ content: "Well." }));
  expect(() => turns({ content: null, refusal: null })).toThrow(/messages\[1\]\.content/);
  expect(() => turns({ content: "Well.", refusal: 5 })).toThrow(/messages\[1\]\.refusal/);
});

it("a function that is asked for by name is called once; where any has to be, several may", () => {
  const tools = [{ type: "function", function: { name: "f" } }];
  const format = (more: object) => acceptCompletion({ messages: [user("a")], tools, ...more }).generation(9)(0).format;
  const named = { type: "function", function: { name: "f" } };
  expect(format({ tool_choice: named })).toMatchObject({ kind: "calls", several: false });
  expect(format({ tool_choice: named, parallel_tool_calls: true })).toMatchObject({ several: false });
  expect(format({ tool_choice: "required" })).toMatchObject({ several: true });
  expect(format({ tool_choice: "required", parallel_tool_calls: false })).toMatchObject({ several: false });
});

it("an error says nothing of options that a request has not got", () => {
  const hint = "Fetch it again, or take what there is with allowTruncated: true.";
  const { body } = failureOf(new EngineError("bad-image", "the PNG is cut off", { hint }));
  expect(body.error.message).toBe("the PNG is cut off (Fetch it again.)");
});
