import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { pathOf } from "../support.ts";

// Answers with a schema, as the built library has them in Node: XGrammar is in a thread of its own.

/** Runs a script in a process of its own, where `compiled()` tells how often its first thread began a WebAssembly module, and `workers` are its others. */
async function node(script: string): Promise<unknown> {
  const start = `
import threads from "node:worker_threads";
import { syncBuiltinESMExports } from "node:module";
import { readFile } from "node:fs/promises";
const workers = [];
const { Worker } = threads;
threads.Worker = class extends Worker { constructor(...given) { super(...given); workers.push(this); } };
syncBuiltinESMExports();
let modules = 0;
for (const name of ["compile", "instantiate"]) {
  const own = WebAssembly[name];
  WebAssembly[name] = (...given) => { modules++; return own.apply(WebAssembly, given); };
}
const compiled = () => modules;
const { openGrammars } = await import(${JSON.stringify(pathOf("dist/src/text/grammar/client.js"))});
const { loadTokenizer } = await import(${JSON.stringify(pathOf("dist/src/text/tokenizer.js"))});
const { platform } = await import(${JSON.stringify(pathOf("dist/src/platform/node.js"))});
const { InternVL } = await import(${JSON.stringify(pathOf("dist/src/index.js"))});
const nano = ${JSON.stringify(pathOf("weights/nano"))};
const open = async () => {
  const tokenizer = await loadTokenizer((name) => readFile(nano + "/" + name).catch(() => undefined));
  return openGrammars(tokenizer, tokenizer.vocabSize, new Set([tokenizer.idOf("<|im_end|>")]));
};
const format = (source) => ({ kind: "regex", source, flags: "", name: "schema" });
const codeOf = (promise) => promise.then(() => "nothing", ({ code }) => code);
const say = (value) => console.log(JSON.stringify(value));
`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", start + script], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise((resolve) => child.once("close", resolve)),
  ]);
  expect([code, stderr.replace(/^Warning: max.*\n/gm, "")]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

it("an answer with a schema works, and WebAssembly is in another thread, which ends with the model", async () => {
  const script = `
const vlm = await InternVL.load(nano, { maxContext: 512 });
const schema = { type: "object", properties: { n: { type: "integer" }, s: { type: "string", maxLength: 5 } }, required: ["n", "s"] };
const { text } = await vlm.chat("Hello", { schema, maxTokens: 100 });
const { n, s } = JSON.parse(text);
const wrong = await codeOf(vlm.chat("Hello", { schema: { not: {} } }));
await vlm.dispose();
while (workers[0].threadId !== -1) await new Promise((resolve) => setTimeout(resolve, 10)); // until it has ended
say([typeof n, s.length <= 5, wrong, workers.length, compiled()]);`;
  expect(await node(script)).toEqual(["number", true, "bad-input", 1, 0]);
});

it("a thread that breaks off fails its answers, and the next one has another; it keeps no process from its end", async () => {
  const script = `
const grammars = await open();
const first = await grammars.matcher(format("(yes|no), and that is all"));
const { next } = await first.advance([], false, false);
workers[0].postMessage = () => {}; // it may be quicker with an answer than with its end
const under = [codeOf(first.advance([], true, false)), codeOf(grammars.matcher(format("[0-9]{1,3000}")))];
await workers[0].terminate();
const codes = [...(await Promise.all(under)), await codeOf(first.advance([], true, false))];
first.dispose();
const again = await Promise.all(["a|b", "c|d"].map((each) => grammars.matcher(format(each))));
const steps = await Promise.all(again.map((each) => each.advance([], true, false)));
const forced = await (await grammars.matcher(format("forced(a|b)"))).advance([], true, false);
say([next.length > 0, codes, steps.map(({ next }) => next.length > 0), forced.next, workers.length, compiled()]);`;
  expect(await node(script)).toEqual([true, Array(3).fill("out-of-memory"), [true, true], "forced", 2, 0]);
});

it("what takes long to compile has a thread of its own, and holds up no other answer", async () => {
  const script = `
const grammars = await open();
const place = await grammars.matcher(format("(yes|no)"));
const before = workers.length;
const slow = await grammars.matcher(format("[ -~]{300}"));
workers[1].postMessage = () => {}; // it compiles, and hears nothing
const compiling = [codeOf(grammars.matcher(format("[ -~]{301}"))), codeOf(slow.advance([], false, false))];
const { next } = await place.advance([], false, false);
const other = await (await grammars.matcher(format("forced(a|b)"))).advance([], true, false);
await grammars.dispose();
const ended = await Promise.all([...compiling, codeOf(grammars.matcher(format("a")))]);
while (workers.some(({ threadId }) => threadId !== -1)) await new Promise((resolve) => setTimeout(resolve, 10)); // until both have ended
say([before, workers.length, next.length > 0, other.next, ended]);`;
  expect(await node(script)).toEqual([1, 2, true, "forced", Array(3).fill("disposed")]);
});

it("an error of the thread's is told whole: what to do as well", async () => {
  const script = `
const tokenizer = { vocabSize: 3, isSpecial: () => false, piece: (id) => "ab!"[id] };
const grammars = await openGrammars(tokenizer, 3, new Set([2]));
const error = await (await grammars.matcher(format("c"))).advance([], true, true).catch((error) => error);
await grammars.dispose();
say([workers.length, error.name, error.code, error.message, error.hint]);`;
  expect(await node(script)).toEqual([
    1,
    "EngineError",
    "bad-weights",
    "no token of this tokenizer can go on with what the schema asks for",
    "let the schema or the expression have other characters there",
  ]);
});

it("where no thread starts, grammars are in the model's own, after one warning", async () => {
  const script = `
platform.startGrammars = () => Promise.reject(new Error("not allowed here"));
const warned = [];
console.warn = (line) => warned.push(line);
const lists = [];
for (let i = 0; i < 2; i++) {
  const grammars = await open();
  lists.push((await (await grammars.matcher(format("forced(a|b)"))).advance([], true, false)).next);
  await grammars.dispose();
}
say([lists, warned.map((line) => /no thread can be started.*not allowed here/.test(line)), workers.length, compiled() > 0]);`;
  expect(await node(script)).toEqual([["forced", "forced"], [true], 0, true]);
});
