import { createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

const listen = async (server: Server): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

export interface Called {
  method: string;
  path: string;
  body: unknown;
}

/** The part of `lmdeploy serve proxy` that nodes speak with (lmdeploy/serve/proxy/proxy.py). */
export async function lmdeployProxy() {
  const nodes: Record<string, unknown> = {};
  const calls: Called[] = [];
  let refusing = false;
  let stands = true;
  const server = createServer(async (request, response) => {
    if (!stands) return void request.socket.destroy();
    const { pathname } = new URL(request.url!, "http://x");
    const text = (await bodyOf(request)).toString();
    const body = text ? JSON.parse(text) : undefined;
    calls.push({ method: request.method!, path: request.url!, body });
    const json = (value: unknown, status = 200) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    const isJson = request.headers["content-type"]?.split(";")[0] === "application/json";
    if (request.method === "GET" && pathname === "/nodes/status") return json(nodes);
    if (request.method !== "POST" || !isJson || typeof body?.url !== "string") return json({ detail: "unprocessable" }, 422);
    if (pathname === "/nodes/add") {
      if (refusing) return json("Failed to add, please check the input url."); // with 200, as it does
      nodes[body.url] = { role: 1, models: [], unfinished: 0, latency: [], speed: null, ...body.status };
      return json("Added successfully");
    }
    if (pathname === "/nodes/remove") {
      delete nodes[body.url];
      return json("Deleted successfully");
    }
    return json({ detail: "Not Found" }, 404);
  });
  const url = await listen(server);
  return {
    url,
    nodes,
    calls,
    refuse(now: boolean) {
      refusing = now;
    },
    /** Falls, and stands again as one that was started again, at the port that it keeps: another process could take it meanwhile. */
    stand(now: boolean) {
      stands = now;
      for (const node of Object.keys(nodes)) delete nodes[node];
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * A small reverse proxy over replicas: the one with the fewest requests that is healthy, asked each `everyMs`; a whole answer that does not come
 * is asked for at another one.
 */
export async function reverseProxy(replicas: readonly string[], everyMs = 100) {
  const states = replicas.map((url) => ({ url, healthy: true, busy: 0, taken: 0, since: 0 })); // since: a round
  let retried = 0;
  let rounds = 0;
  const probe = setInterval(() => {
    rounds++;
    for (const state of states) {
      fetch(`${state.url}/health`, { signal: AbortSignal.timeout(60_000) }).then(
        (response) => mark(state, response.status === 200),
        () => mark(state, false),
      );
    }
  }, everyMs);
  const mark = (state: (typeof states)[number], healthy: boolean) => {
    if (state.healthy !== healthy) Object.assign(state, { healthy, since: rounds });
  };
  const forward = (state: (typeof states)[number], path: string, body: Buffer) =>
    new Promise<{ status: number; body: Buffer }>((resolve, reject) => {
      const headers = { "content-type": "application/json", "content-length": body.length };
      const asked = httpRequest(state.url + path, { method: "POST", headers, agent: false }, (response) => {
        bodyOf(response).then((whole) => resolve({ status: response.statusCode!, body: whole }), reject);
      });
      asked.on("error", reject).end(body);
    });
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request);
    for (let attempt = 0; attempt < 5; attempt++) {
      const [state] = states.filter(({ healthy }) => healthy).sort((a, b) => a.busy - b.busy);
      if (!state) break;
      state.busy++;
      try {
        const answer = await forward(state, request.url!, body);
        if (answer.status !== 503 && answer.status !== 429) {
          state.taken++;
          return response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
        }
      } catch {
        mark(state, false);
      } finally {
        state.busy--;
      }
      retried++;
    }
    return response.writeHead(502).end();
  });
  const url = await listen(server);
  return {
    url,
    states,
    retried: () => retried,
    rounds: () => rounds,
    close() {
      clearInterval(probe);
      server.closeAllConnections();
      server.close();
    },
  };
}
