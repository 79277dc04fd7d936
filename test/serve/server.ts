import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { InternVL } from "../../src/index.ts";
import { createHandler, type ServerOptions } from "../../src/server.ts";
import { fixtureUrl, pathOf } from "./pictures.ts";

/** A server on nano in this process. */
export interface Running {
  vlm: InternVL;
  url: string;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export const MODEL = "nano";

export async function listening(handler: (request: Request) => Promise<Response>): Promise<{ url: string; server: Server }> {
  const server = createAdaptorServer({ fetch: handler, overrideGlobalObjects: false }) as Server;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** A server of an inner network, whose secret nobody may fetch. */
export async function innerServer() {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.end("secret");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get asked() {
      return asked;
    },
    close: () => server.close(),
  };
}

export async function startServer(options: ServerOptions = {}): Promise<Running> {
  const vlm = await InternVL.load(pathOf("weights/nano"), { slots: 8 });
  const { url, server } = await listening(createHandler(vlm, { model: MODEL, ...options }));
  return {
    vlm,
    url,
    post: (path, body, init = {}) =>
      fetch(url + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...init }),
    async close() {
      server.closeAllConnections();
      server.close();
      await vlm.dispose();
    },
  };
}

/** A user's message about a picture of nano's. */
export const about = (text: string, ...cards: string[]) => ({
  role: "user" as const,
  content: [
    ...(cards.length ? cards : ["card-1"]).map((card) => ({ type: "image_url" as const, image_url: { url: fixtureUrl(card) } })),
    { type: "text" as const, text },
  ],
});

/** The greedy request whose answer is `A triangle.`, in four tokens. */
export const TRIANGLE = { model: MODEL, messages: [about("What shape is it?")], temperature: 0 };

/** The data of a stream of server-sent events. */
export const eventsOf = (text: string): string[] =>
  text
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => event.slice("data: ".length));

// biome-ignore lint/suspicious/noExplicitAny: what a server sends is looked at, whatever it is
export const chunksOf = (text: string): any[] => eventsOf(text).flatMap((data) => (data === "[DONE]" ? [] : [JSON.parse(data)]));
