import { Hono, type MiddlewareHandler } from "hono";
import type { InternVL } from "../api/internvl.ts";
import { newId } from "../api/openai.ts";
import { endpointsOf } from "./endpoints.ts";
import { Refusal, refuse } from "./failure.ts";
import { checkHost, checkKey } from "./guard.ts";
import { type ServerOptions, type Settings, settingsOf } from "./options.ts";
import { isService, type Service } from "./service.ts";

/** Who may ask: by the server's name, the page's origin and the key. */
const guarded =
  (settings: Settings): MiddlewareHandler =>
  async (c, next) => {
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
    // What a client asks to send: openai's has a dozen headers of its own. None of them opens anything.
    c.res.headers.set("access-control-allow-headers", c.req.header("access-control-request-headers") ?? "authorization, content-type");
    c.res.headers.set("access-control-expose-headers", "x-request-id, retry-after");
    c.res.headers.set("access-control-allow-methods", "GET, POST");
  };

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
  const { routes, model, metrics } = endpointsOf(isService(served) ? served : { vlm: served }, settings);
  const app = new Hono();
  app.onError((error) => refuse(error));
  app.use(async (c, next) => {
    await next();
    const given = c.req.header("x-request-id") ?? ""; // a router's own, which it finds its request by
    c.res.headers.set("x-request-id", /^[\w.:-]{1,128}$/.test(given) ? given : newId("req"));
    metrics.responded(routes.has(c.req.path) ? c.req.path : "other", c.res.status);
  });
  app.use(guarded(settings));
  for (const [path, [method, answer]] of routes) {
    app.on(method, path, answer);
    app.all(path, (c) => {
      const headers = { allow: method };
      return refuse(new Refusal(405, `Not allowed: ${c.req.method} ${path} (it takes ${method})`, "method_not_allowed", headers));
    });
  }
  app.get("/v1/models/:name{.+}", (c) => model(c, c.req.param("name")));
  app.notFound((c) => {
    const path = `/${c.req.path.slice(0, 200).split("/").filter(Boolean).join("/")}`;
    const meant = [path, `/v1${path}`].find((each) => routes.has(each));
    const hint = meant ? `: did you mean ${meant}?` : "";
    return refuse(new Refusal(404, `Invalid URL (${c.req.method} ${c.req.path.slice(0, 200)})${hint}`, "not_found"));
  });
  return async (request) => app.fetch(request);
}
