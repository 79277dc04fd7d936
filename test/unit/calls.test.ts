import { expect, it } from "vitest";
import { addCalls, callFinder } from "../../src/api/openai-calls.ts";
import type { ChatToolCallDelta } from "../../src/api/openai-types.ts";

/** What comes of an answer that is cut into pieces of a size. */
function found(answer: string, size: number, eager: boolean) {
  const finder = callFinder(eager);
  const calls: ChatToolCallDelta[] = [];
  const pieces: ChatToolCallDelta[] = [];
  let text = "";
  const take = (more: { text: string; calls: ChatToolCallDelta[] }) => {
    text += more.text;
    pieces.push(...more.calls);
    addCalls(calls, more.calls);
  };
  for (let at = 0; at < answer.length; at += size) take(finder.push(answer.slice(at, at + size)));
  take(finder.end());
  expect(calls.map(({ index, type }) => [index, type])).toEqual(calls.map((_, i) => [i, "function"]));
  expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length);
  return { text, calls: calls.map((call) => `${call.function.name}${call.function.arguments}`), pieces };
}

const call = (name: string, said: string) => `<tool_call>\n{"name": "${name}", "arguments": ${said}}\n</tool_call>`;

it.each<[answer: string, text: string, calls: string[], whole?: { text: string; calls: string[] }]>([
  [`So ${call("f", '{"a": 1}')}< <tool_call>{</tool_call> <tool_c`, "So < <tool_call>{</tool_call> <tool_c", ['f{"a":1}']],
  [
    `${call("f", "{}")}\n${call("g-1", '{"b": [{"c": "d e"}, "\\"}"], "e": null}')}`,
    "\n",
    ["f{}", 'g-1{"b":[{"c":"d e"},"\\"}"],"e":null}'],
  ],
  // A string may say what ends a call.
  [call("f", '{"a": "</tool_call>"}'), "", ['f{"a":"</tool_call>"}'], { text: "", calls: ['f{"a":"</tool_call>"}'] }],
  // Names in other places, no arguments: known when the call has ended.
  ['<tool_call>{"arguments": {"a": 1}, "name": "f"}</tool_call>', "", ['f{"a":1}']],
  ['<tool_call>{"name": "f"}</tool_call>.', ".", ["f{}"]],
  // Cut: what came of the arguments; before the name is certain, text.
  ['<tool_call>\n{"name": "f", "arguments": {"a": "b c', "", ['f{"a":"b c']],
  ['<tool_call>\n{"name": "f", "arguments": {"a": 1}', "", ['f{"a":1}']],
  ['<tool_call>\n{"name": "f", "argu', '<tool_call>\n{"name": "f", "argu', []],
  // Damaged: as it was written where it was streamed, text where there was time to see it.
  [`${call("f", "{a: 1}")}.`, ".", ["f{a:1}"], { text: `${call("f", "{a: 1}")}.`, calls: [] }],
  [call("f", '{"a": 1'), "", ['f{"a":1}'], { text: call("f", '{"a": 1'), calls: [] }],
])("%s", (answer, text, calls, whole = { text, calls }) => {
  for (const size of [1, 2, 3, 7, 1000]) {
    expect(found(answer, size, true), `streamed by ${size}`).toMatchObject({ text, calls });
    expect(found(answer, size, false), `by ${size}`).toMatchObject(whole);
  }
});

it("arguments come as they are written, the name at first, and only once", () => {
  const { pieces } = found(call("f", '{"text": "one two"}'), 4, true);
  const [first, ...others] = pieces;
  expect(first).toMatchObject({ index: 0, type: "function", function: { name: "f" } });
  expect(others.length).toBeGreaterThan(2);
  for (const { index, function: said, ...more } of others) expect([index, Object.keys(said), more]).toEqual([0, ["arguments"], {}]);
  expect(found(call("f", '{"text": "one two"}'), 4, false).pieces).toHaveLength(1);
});
