import type { Context } from "hono";
import { acceptCompletion, bodyOf, complete, promptOf } from "../api/openai.ts";
import { readFields } from "../api/openai-fields.ts";
import { completeText } from "../api/openai-text.ts";
import type { Parts } from "../api/parts.ts";
import { EngineError } from "../errors.ts";
import { any, flag, isRecord, text, wrong } from "../options.ts";
import { Refusal } from "./failure.ts";
import { Load, readJson } from "./guard.ts";
import { Metrics } from "./metrics.ts";
import type { Settings } from "./options.ts";
import { withPictures } from "./pictures.ts";
import { type Service, stateOf } from "./service.ts";
import { eventStream } from "./stream.ts";

const TOKENIZE = {
  model: text,
  prompt: text,
  content: text,
  messages: any,
  tools: any,
  parse_special: flag,
  add_special: flag,
  add_special_tokens: flag,
};
const MOST_TEXT = 2 ** 20; // characters that are tokenised for nothing but their tokens

/** How many answers a request asks for: what it counts for in the queue. What is wrong with it is said later. */
function answersOf(body: unknown): number {
  if (!isRecord(body)) return 1;
  const prompts = Array.isArray(body.prompt) && typeof body.prompt[0] !== "number" ? body.prompt.length : 1;
  return prompts * (typeof body.n === "number" && body.n >= 1 && body.n <= 128 ? Math.floor(body.n) : 1);
}

type Route = [method: "GET" | "POST", answer: (c: Context) => Response | Promise<Response>];

/** What each path answers with, and what is measured of it. */
export function endpointsOf(service: Service, settings: Settings) {
  const metrics = new Metrics();
  const load = new Load();
  const created = Math.floor(Date.now() / 1000);
  const { model: served, maxImages, maxPixels } = settings;

  function card() {
    const context = stateOf(service).parts?.model.maxContext;
    return {
      id: served,
      object: "model",
      created,
      owned_by: "internvl-webgpu",
      max_model_len: context,
      context_length: context,
      architecture: { input_modalities: ["text", "image"], output_modalities: ["text"] },
    };
  }

  /** @throws Refusal 503 */
  function ready(): Parts {
    const state = stateOf(service);
    if (state.parts) return state.parts;
    throw new Refusal(503, `the model is not ready: ${state.status}`, state.status.replace(" ", "_"), { "retry-after": "5" });
  }

  /** The body of a request about this model. @throws Refusal */
  async function bodyFor(c: Context, keep: (bytes: number) => void): Promise<unknown> {
    const body = await readJson(c.req.raw, settings, load, keep);
    const model = isRecord(body) ? (body.model ?? served) : served;
    if (typeof model !== "string") throw wrong("model", model, "a text");
    if (model !== served)
      throw new Refusal(404, `The model '${model.slice(0, 100)}' does not exist; there is '${served}'`, "model_not_found");
    return isRecord(body) ? { ...body, model } : body;
  }

  /** @throws Refusal 429 where the queue has no place for so many answers more */
  function admit(answers: number, most: number): void {
    const waiting = load.answers;
    if (waiting === 0 || waiting + answers <= most + settings.maxQueue) return;
    const seconds = Math.min(60, Math.max(1, Math.ceil((metrics.meanSeconds * waiting) / most)));
    throw new Refusal(429, "too many requests are waiting, come again later", "overloaded", { "retry-after": String(seconds) });
  }

  /** Answers a request by a function that gives an object, or chunks. Whatever it takes is given back when its answer has ended. */
  async function generate(c: Context, answer: (parts: Parts, body: unknown, signal: AbortSignal) => Promise<object>): Promise<Response> {
    const parts = ready();
    const abort = new AbortController();
    const gone = () => abort.abort(new EngineError("aborted", "the client has gone"));
    c.req.raw.signal.addEventListener("abort", gone, { once: true });
    const late = new Refusal(504, `the answer took more than ${settings.maxSeconds} s`, "timeout");
    const timer = setTimeout(() => abort.abort(late), settings.maxSeconds * 1000);
    const held = { bytes: 0, answers: 0 };
    let over = false;
    const ended = () => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      c.req.raw.signal.removeEventListener("abort", gone);
      load.bytes -= held.bytes;
      load.answers -= held.answers;
    };
    try {
      const body = await bodyFor(c, (bytes) => {
        load.bytes += bytes;
        held.bytes += bytes;
      });
      const answers = answersOf(body);
      admit(answers, parts.scheduler.most);
      held.answers = answers;
      load.answers += answers;
      const result = await answer(parts, await withPictures(body, settings), abort.signal);
      if (Symbol.asyncIterator in result) {
        return eventStream(result as AsyncGenerator<unknown, void, void>, { signal: abort.signal, abort: gone, ended });
      }
      ended();
      return c.json(result);
    } catch (error) {
      ended();
      throw abort.signal.reason === late ? late : error;
    }
  }

  async function tokenize(c: Context): Promise<Response> {
    const parts = ready();
    const read = readFields(bodyOf(await bodyFor(c, () => {})), TOKENIZE);
    const said = read.prompt ?? read.content;
    if ((said === undefined) === (read.messages === undefined)) throw wrong("prompt", said, "a text, or messages in its place");
    if (said !== undefined && said.length > MOST_TEXT) throw wrong("prompt", said, `at most ${MOST_TEXT} characters`);
    const { messages, tools } = read;
    const accepted = said === undefined ? acceptCompletion(await withPictures({ messages, tools }, settings), settings) : undefined;
    const plain = (typed: string) => (read.parse_special ? parts.tokenizer.encode(typed) : parts.tokenizer.encodeParts([typed]));
    const tokens = accepted ? (await promptOf(parts, accepted, c.req.raw.signal)).inputIds : plain(said!);
    return c.json({ tokens, count: tokens.length, max_model_len: parts.model.maxContext });
  }

  async function detokenize(c: Context): Promise<Response> {
    const parts = ready();
    const { tokens } = readFields(bodyOf(await bodyFor(c, () => {})), { model: text, tokens: any });
    const { vocabSize } = parts.config.language;
    const right = Array.isArray(tokens) && tokens.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
    if (!right) throw wrong("tokens", tokens, `a list of token ids below ${vocabSize}`);
    const said = parts.tokenizer.decode(tokens);
    return c.json({ prompt: said, content: said });
  }

  const chat = (c: Context) =>
    generate(c, (parts, body, signal) =>
      complete(parts, body, { signal, maxImages, maxPixels }, (...answer) => metrics.answered(...answer)),
    );

  const completions = (c: Context) =>
    generate(c, (parts, body, signal) => completeText(parts, body, { signal }, (...answer) => metrics.answered(...answer)));

  const models = (c: Context) => c.json({ object: "list", data: [card()] });

  /** @throws Refusal 404 */
  function model(c: Context, name: string): Response {
    if (name === served) return c.json(card());
    throw new Refusal(404, `The model '${name.slice(0, 100)}' does not exist`, "model_not_found");
  }

  function health(c: Context): Response {
    const state = stateOf(service);
    if (state.parts) return c.json({ status: "ok" });
    const { progress } = service;
    return c.json({ status: state.status, ...(progress && state.status === "loading" ? { progress } : {}) }, 503, { "retry-after": "5" });
  }

  const measured = (c: Context) =>
    c.body(metrics.text(stateOf(service).parts, served), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });

  const routes = new Map<string, Route>([
    ["/v1/chat/completions", ["POST", chat]],
    ["/v1/completions", ["POST", completions]],
    ["/v1/models", ["GET", models]],
    ["/health", ["GET", health]],
    ["/metrics", ["GET", measured]],
    ["/tokenize", ["POST", tokenize]],
    ["/detokenize", ["POST", detokenize]],
  ]);
  return { routes, model, metrics };
}
