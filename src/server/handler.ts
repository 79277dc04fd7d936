import { type Context, Hono } from "hono";
import type { InternVL } from "../api/internvl.ts";
import { acceptCompletion, bodyOf, complete, promptOf } from "../api/openai.ts";
import { readFields } from "../api/openai-fields.ts";
import { completeText } from "../api/openai-text.ts";
import type { Parts } from "../api/parts.ts";
import { EngineError } from "../errors.ts";
import { any, flag, isRecord, text, wrong } from "../options.ts";
import { Refusal, refuse } from "./failure.ts";
import { checkHost, checkKey, Load, readJson } from "./guard.ts";
import { Metrics } from "./metrics.ts";
import { type ServerOptions, settingsOf } from "./options.ts";
import { withPictures } from "./pictures.ts";
import { isService, type Service, stateOf } from "./service.ts";
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

/**
 * An HTTP handler that speaks OpenAI's API: chat completions and completions, models, tokens, health and metrics. It takes a web standard
 * `Request` and runs wherever there are such.
 *
 * @param served a loaded model, or a service whose model comes and goes
 * @throws EngineError bad-input (options)
 *
 * @example
 * ```ts
 * const handler = createHandler(vlm, { model: "nano" });
 * const response = await handler(new Request("http://localhost/v1/models"));
 * console.log((await response.json()).data[0].id); // nano
 * ```
 */
export function createHandler(served: InternVL | Service, options?: ServerOptions): (request: Request) => Promise<Response> {
  const settings = settingsOf(options);
  const service: Service = isService(served) ? served : { vlm: served };
  const metrics = new Metrics();
  const load = new Load();
  const created = Math.floor(Date.now() / 1000);
  const app = new Hono();

  const ready = (): Parts => {
    const state = stateOf(service);
    if (state.parts) return state.parts;
    throw new Refusal(503, `the model is not ready: ${state.status}`, state.status.replace(" ", "_"), { "retry-after": "5" });
  };

  /** The body of a request about this model. */
  const bodyFor = async (c: Context, keep: (bytes: number) => void): Promise<unknown> => {
    const body = await readJson(c.req.raw, settings, load, keep);
    const model = isRecord(body) ? (body.model ?? settings.model) : settings.model;
    if (typeof model !== "string") throw wrong("model", model, "a text");
    if (model !== settings.model)
      throw new Refusal(404, `The model '${model.slice(0, 100)}' does not exist; there is '${settings.model}'`, "model_not_found");
    return isRecord(body) ? { ...body, model } : body;
  };

  /** Answers a request by a function that gives an object, or chunks. Whatever it takes is given back when its answer has ended. */
  const generating =
    (answer: (parts: Parts, body: unknown, signal: AbortSignal) => Promise<object>) =>
    async (c: Context): Promise<Response> => {
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
        const { most } = parts.scheduler;
        if (load.answers > 0 && load.answers + answers > most + settings.maxQueue) {
          const seconds = Math.min(60, Math.max(1, Math.ceil((metrics.meanSeconds * load.answers) / most)));
          throw new Refusal(429, "too many requests are waiting, come again later", "overloaded", { "retry-after": String(seconds) });
        }
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
    };

  app.onError((error) => refuse(error));
  app.use(async (c, next) => {
    await next();
    const route = ROUTES.get(c.req.path) ? c.req.path : "other";
    metrics.responded(route, c.res.status);
  });
  app.use(async (c, next) => {
    checkHost(c.req.raw, settings);
    const origin = c.req.header("origin");
    const allowed = settings.cors !== undefined && (settings.cors === "*" || settings.cors === origin) ? settings.cors : undefined;
    if (c.req.method === "OPTIONS") c.res = new Response(null, { status: allowed ? 204 : 403 });
    else {
      if (c.req.path !== "/health") await checkKey(c.req.raw, settings);
      await next();
    }
    if (!allowed) return;
    c.res.headers.set("access-control-allow-origin", allowed);
    c.res.headers.append("vary", "origin");
    c.res.headers.set("access-control-allow-headers", "authorization, content-type");
    c.res.headers.set("access-control-allow-methods", "GET, POST");
  });

  const model = () => {
    const context = stateOf(service).parts?.model.maxContext;
    return {
      id: settings.model,
      object: "model",
      created,
      owned_by: "internvl-webgpu",
      max_model_len: context,
      context_length: context,
      architecture: { input_modalities: ["text", "image"], output_modalities: ["text"] },
    };
  };
  const chat = generating((parts, body, signal) => {
    const { maxImages, maxPixels } = settings;
    return complete(parts, body, { signal, maxImages, maxPixels }, (...answer) => metrics.answered(...answer));
  });

  const tokenize = async (c: Context): Promise<Response> => {
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
  };
  const detokenize = async (c: Context): Promise<Response> => {
    const parts = ready();
    const { tokens } = readFields(bodyOf(await bodyFor(c, () => {})), { model: text, tokens: any });
    const { vocabSize } = parts.config.language;
    const right = Array.isArray(tokens) && tokens.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
    if (!right) throw wrong("tokens", tokens, `a list of token ids below ${vocabSize}`);
    const said = parts.tokenizer.decode(tokens);
    return c.json({ prompt: said, content: said });
  };
  const health = (c: Context): Response => {
    const state = stateOf(service);
    if (state.parts) return c.json({ status: "ok" });
    const { progress } = service;
    return c.json({ status: state.status, ...(progress && state.status === "loading" ? { progress } : {}) }, 503, { "retry-after": "5" });
  };

  const ROUTES = new Map<string, ["GET" | "POST", (c: Context) => Response | Promise<Response>]>([
    ["/v1/chat/completions", ["POST", chat]],
    [
      "/v1/completions",
      ["POST", generating((parts, body, signal) => completeText(parts, body, { signal }, (...answer) => metrics.answered(...answer)))],
    ],
    ["/v1/models", ["GET", (c) => c.json({ object: "list", data: [model()] })]],
    ["/health", ["GET", health]],
    [
      "/metrics",
      [
        "GET",
        (c) =>
          c.body(metrics.text(stateOf(service).parts, settings.model), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
      ],
    ],
    ["/tokenize", ["POST", tokenize]],
    ["/detokenize", ["POST", detokenize]],
  ]);
  for (const [path, [method, answer]] of ROUTES) {
    app.on(method, path, answer);
    app.all(path, (c) => {
      const headers = { allow: method };
      return refuse(new Refusal(405, `Not allowed: ${c.req.method} ${path} (it takes ${method})`, "method_not_allowed", headers));
    });
  }
  app.get("/v1/models/:name{.+}", (c) => {
    if (c.req.param("name") === settings.model) return c.json(model());
    throw new Refusal(404, `The model '${c.req.param("name").slice(0, 100)}' does not exist`, "model_not_found");
  });
  app.notFound((c) => {
    const path = `/${c.req.path.slice(0, 200).split("/").filter(Boolean).join("/")}`;
    const meant = [path, `/v1${path}`].find((each) => ROUTES.has(each));
    const hint = meant ? `: did you mean ${meant}?` : "";
    return refuse(new Refusal(404, `Invalid URL (${c.req.method} ${c.req.path.slice(0, 200)})${hint}`, "not_found"));
  });
  return async (request) => app.fetch(request);
}
