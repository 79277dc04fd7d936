import { setTimeout as sleep } from "node:timers/promises";

/** How a server announces itself to a proxy. */
interface ProxyNode {
  /** How the proxy reaches it. */
  url: string;
  model: string;
}

const HYBRID = 1; // lmdeploy's EngineRole: a node that does both prefill and decoding

/**
 * Keeps a server on the list of `lmdeploy serve proxy` (lmdeploy/serve/proxy/proxy.py) as long as it is ready: a proxy that was started again, or
 * that has dropped it, is announced once more.
 */
export class Registration {
  readonly #proxy: string;
  readonly #node: ProxyNode;
  readonly #ready: () => boolean;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #known = false;
  #said = "";

  /** @param everyMs how often the proxy's list is looked at */
  constructor(proxy: string, node: ProxyNode, ready: () => boolean, everyMs = 1000) {
    this.#proxy = proxy.replace(/\/+$/, "");
    this.#node = node;
    this.#ready = ready;
    this.#running = this.#run(everyMs);
  }

  async #run(everyMs: number): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#look().catch((error: Error) =>
        this.#say(`does not answer: ${(error.cause as Error | undefined)?.message || error.message}`),
      );
      await sleep(everyMs, undefined, { signal }).catch(() => {});
    }
  }

  async #look(): Promise<void> {
    if (!this.#ready()) {
      if (this.#known) await this.#remove();
      return;
    }
    const nodes = await this.#ask("/nodes/status");
    this.#known = typeof nodes === "object" && nodes !== null && this.#node.url in nodes;
    if (this.#known) return;
    const { url, model } = this.#node;
    const answer = await this.#ask("/nodes/add", { url, status: { models: [model], role: HYBRID } });
    this.#known = typeof answer === "string" && /success/i.test(answer); // a failure has status 200 too
    this.#say(this.#known ? `knows ${url} as ${model}` : `does not take ${url}: ${JSON.stringify(answer).slice(0, 200)}`);
  }

  /** lmdeploy takes the address in the body; its older versions, and its documents, have it in the query. */
  async #remove(): Promise<void> {
    const { url } = this.#node;
    await this.#ask(`/nodes/remove?node_url=${encodeURIComponent(url)}`, { url });
    this.#known = false;
  }

  async #ask(path: string, body?: object): Promise<unknown> {
    const init = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(this.#proxy + path, { ...init, redirect: "error", signal: AbortSignal.timeout(2000) });
    if (!response.ok) throw new Error(`status ${response.status} of ${path}`);
    return response.json();
  }

  #say(what: string): void {
    if (what !== this.#said) process.stderr.write(`internvl: the proxy ${this.#proxy} ${what}\n`);
    this.#said = what;
  }

  /** Takes the server off the list. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    if (this.#known) await this.#remove().catch(() => {}); // it finds out by /health
  }
}
