import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { createAdaptorServer } from "@hono/node-server";
import { partsOf } from "../../src/api/internvl.ts";
import { InternVL, type Progress } from "../../src/index.ts";
import { isReady } from "../../src/server/service.ts";
import { createHandler, type ServerOptions, type Service } from "../../src/server.ts";
import { UsageError } from "./failures.ts";
import { stopListening } from "./interrupt.ts";
import { checkModelFlags, loadOptions, type ModelFlags, modelName, NANO, sayToy } from "./model.ts";
import { loadProgress } from "./progress.ts";
import { Registration } from "./proxy.ts";
import { clearStatus, terminal } from "./status.ts";

export interface ServeFlags extends ModelFlags {
  port: number;
  host: string;
  apiKey?: string;
  slots: number;
  cors?: string;
  modelName?: string;
  allowHosts?: string[];
  allowImagesFrom?: string[];
  mediaRoot?: string;
  maxQueue?: number;
  maxSeconds?: number;
  reloadOnLoss?: boolean;
  proxyUrl?: string;
  publicUrl?: string;
}

const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];
const isLoopback = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host);

/** What a client may send before it is asked, and how long it may take: Node's own limits, made narrower, but that a connection is kept longer than proxies keep theirs (60 s): one that is closed under a request is a 502. */
const CONNECTIONS = {
  headersTimeout: 10_000,
  requestTimeout: 120_000,
  keepAliveTimeout: 75_000,
  maxHeaderSize: 16_384,
  connectionsCheckingInterval: 5_000,
};

/** A model that is loaded while its server answers already, and again where its device was lost and that is wanted. */
export class Loading implements Service {
  vlm: InternVL | undefined;
  progress: Progress | undefined;
  stopping = false;
  readonly #flags: ServeFlags;
  #toldToy = false;
  readonly #abort = new AbortController();

  constructor(flags: ServeFlags) {
    this.#flags = flags;
  }

  async load(): Promise<void> {
    const { model, slots, reloadOnLoss } = this.#flags;
    const show = loadProgress(terminal);
    this.vlm = undefined;
    const vlm = await InternVL.load(model ?? NANO, {
      ...loadOptions(this.#flags),
      slots,
      signal: this.#abort.signal,
      onProgress: (progress) => {
        this.progress = progress;
        show(progress);
      },
    });
    clearStatus();
    if (!this.#toldToy) sayToy(model);
    this.#toldToy = true; // not again where it is loaded again
    this.vlm = vlm;
    Promise.race(partsOf(vlm).gpus.map(({ device }) => device.lost)).then(({ message }) => {
      if (this.stopping || this.vlm !== vlm) return;
      process.stderr.write(`internvl: device-lost: ${message}\n`);
      if (reloadOnLoss) this.#reload(vlm);
    });
  }

  #reload(lost: InternVL): void {
    this.vlm = undefined;
    const again = async () => {
      await lost.dispose().catch(() => {}); // its memory is gone already
      await this.load();
      process.stderr.write("internvl: the model is loaded again\n");
    };
    again().catch((error: Error) => process.stderr.write(`internvl: the model does not load again: ${error.message}\n`));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.vlm?.dispose();
  }
}

/** npx hands its own Ctrl-C on: what comes this soon after is the same key. */
const SAME_KEY = 200; // ms

/** Waits for a signal; a second one ends the process at once. */
function signalled(): Promise<void> {
  stopListening();
  let first: number | undefined;
  return new Promise((resolve) => {
    for (const [name, code] of [["SIGINT", 130] as const, ["SIGTERM", 143] as const, ["SIGHUP", 129] as const]) {
      process.on(name, () => {
        if (first === undefined) {
          first = performance.now();
          resolve();
        } else if (performance.now() - first > SAME_KEY) process.exit(code);
      });
    }
  });
}

function listen(server: Server, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "something listens there already" : error.message;
      reject(new UsageError(`cannot listen on ${host}:${port}: ${why}`));
    });
    server.listen(port, host, () => resolve(server.address() as AddressInfo));
  });
}

/** Serves a model until a signal comes; then what is under way is answered, and nothing else. */
export async function serve(flags: ServeFlags): Promise<void> {
  await checkModelFlags(flags);
  const { port, host, apiKey, cors, allowHosts, allowImagesFrom, mediaRoot, maxQueue, maxSeconds } = flags;
  const model = flags.modelName ?? modelName(flags.model);
  const options: ServerOptions = { model, apiKey, cors, allowImagesFrom, mediaRoot, maxQueue, maxSeconds };
  const service = new Loading(flags);
  const hosts = isLoopback(host) || allowHosts ? [...LOOPBACK, ...(allowHosts ?? [])] : undefined;
  const handler = createHandler(service, { ...options, hosts });
  // HTTP/1.0 need not say a host: health checks of load balancers do not.
  const adaptor = { fetch: handler, hostname: "localhost", serverOptions: CONNECTIONS, overrideGlobalObjects: false };
  const server = createAdaptorServer(adaptor) as Server;
  const stop = signalled(); // before anybody can know that there is a server to end
  const address = await listen(server, port, host);
  const url = `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
  if (!isLoopback(host) && apiKey === undefined) {
    process.stderr.write(`warning: anybody who reaches ${url} can use this model: give --api-key\n`);
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ url, model })}\n`);
  else process.stderr.write(`${model} on ${url}/v1\n`);
  const proxy =
    flags.proxyUrl && new Registration(flags.proxyUrl, { url: flags.publicUrl ?? reachable(url), model }, () => isReady(service));
  const loading = service.load();
  loading.catch(() => {}); // told by the race, or of no interest any more
  try {
    await Promise.race([loading.then(() => stop), stop]);
  } finally {
    if (proxy) await proxy.stop(); // before anything is refused
    service.stopping = true;
    await ended(server);
    await service.stop();
  }
}

/** A server's address for others: one that listens everywhere is called by the machine's name. */
function reachable(url: string): string {
  const at = new URL(url);
  if (at.hostname === "0.0.0.0" || at.hostname === "[::]") at.hostname = hostname();
  return at.origin;
}

/** Takes no connection any more, and waits until what was asked is answered. */
async function ended(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  // A connection that is kept open for its next request would be waited for.
  const sweep = setInterval(() => server.closeIdleConnections(), 100);
  await closed;
  clearInterval(sweep);
}
