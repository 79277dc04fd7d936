import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { promisify } from "node:util";
import { afterEach, describe, expect, inject, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { runScript, type Snippet, snippetFolder, snippetsOf } from "../shared/snippets.ts";
import { pathOf } from "./pictures.ts";
import { lmdeployProxy, reverseProxy } from "./replicas.ts";
import { chunksOf, TRIANGLE } from "./server.ts";

const main = pathOf("dist/tools/cli/main.js");
const started: ChildProcess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

interface Served {
  child: ChildProcess;
  url: string;
  /** What it has said on stderr so far. */
  said(): string;
  code: Promise<number | null>;
}

/** Starts `internvl serve` on any free port; it answers when this resolves, its model may not. */
async function serve(...args: string[]): Promise<Served> {
  const child = spawn(process.execPath, [main, "serve", "--port", "0", "--json", ...args]);
  started.push(child);
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString();
  });
  const code = new Promise<number | null>((resolve) => child.once("close", resolve));
  const line = new Promise<string>((resolve) => child.stdout.once("data", (data: Buffer) => resolve(data.toString())));
  const first = await Promise.race([line, code.then((ended) => Promise.reject(new Error(`ended with ${ended}: ${stderr}`)))]);
  const { url } = JSON.parse(first) as { url: string };
  return { child, url, said: () => stderr, code };
}

async function healthy(url: string): Promise<string[]> {
  const seen: string[] = [];
  while (true) {
    const response = await fetch(`${url}/health`);
    const { status } = (await response.json()) as { status: string };
    expect(response.status).toBe(status === "ok" ? 200 : 503);
    if (seen.at(-1) !== status) seen.push(status);
    if (status === "ok") return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits until a server has heard a signal, however busy the machine is: it says that it stops, or takes no connection any more. */
async function stopping(url: string): Promise<void> {
  const says = async () => ((await (await fetch(`${url}/health`)).json()) as { status: string }).status;
  while ((await says().catch(() => "gone")) === "ok") await new Promise((resolve) => setTimeout(resolve, 20));
}

const post = (url: string, body: object) =>
  fetch(`${url}/v1/chat/completions`, { method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) });

const JSON_TYPE = { "content-type": "application/json" };
const LONG = { ...TRIANGLE, messages: [{ role: "user", content: "Count." }], temperature: 2, seed: 1, max_tokens: 60, stream: true };

describe("docs/serving.md", () => {
  it("its snippets work as they stand", async (context) => {
    context.skip(isQuick, `each client once more: ${ELSEWHERE}`);
    const { url } = await serve();
    await healthy(url);
    const here = ({ code }: Snippet) => code.replaceAll("http://127.0.0.1:23333", url);
    const folder = snippetFolder();
    try {
      const shell = snippetsOf("docs/serving.md", "sh").filter(({ code }) => code.includes("curl"));
      const scripts = snippetsOf("docs/serving.md", "js");
      expect([shell.length, scripts.length]).toEqual([1, 7]);
      const asked = await promisify(execFile)("bash", ["-c", here(shell[0]!)], { cwd: folder.path });
      expect(asked.stdout).toContain('"content":"A triangle."');
      for (const snippet of scripts) expect((await runScript(here(snippet), folder.path)).trim(), snippet.at).toBe("A triangle.");
    } finally {
      folder.remove();
    }
  });
});

describe("internvl serve", () => {
  it("answers at once that it loads, then questions; SIGTERM lets what runs end, and nothing else begin", async () => {
    const { child, url, code, said } = await serve();
    const early = await post(url, TRIANGLE);
    if (early.status !== 200) expect([early.status, (await early.json()).error.code]).toEqual([503, "loading"]);
    expect((await healthy(url)).at(-1)).toBe("ok");
    const running = await post(url, LONG);
    child.kill("SIGTERM");
    await stopping(url);
    const refused = await post(url, TRIANGLE).then(
      ({ status }) => status,
      () => "no connection",
    );
    expect([503, "no connection"]).toContain(refused);
    const text = await running.text();
    expect(text.trimEnd().endsWith("data: [DONE]")).toBe(true);
    expect(chunksOf(text).at(-1).choices[0].finish_reason).toMatch(/stop|length/);
    expect(await code).toBe(0);
    expect(said()).not.toContain("Count"); // nothing of a prompt
  });

  it("a second signal ends it at once", async () => {
    const { child, url, code } = await serve();
    await healthy(url);
    const { tokens } = (await (
      await fetch(`${url}/tokenize`, { method: "POST", headers: JSON_TYPE, body: JSON.stringify({ prompt: "." }) })
    ).json()) as { tokens: number[] };
    const endless = { max_tokens: 1900, n: 8, logit_bias: { [tokens[0]!]: 100 } };
    const running = await post(url, { ...LONG, ...endless });
    child.kill("SIGTERM");
    await stopping(url);
    const again = setInterval(() => child.kill("SIGTERM"), 250); // what comes soon after the first is taken for the same key
    expect(await code).toBe(143);
    clearInterval(again);
    await running.text().catch(() => {});
  });

  it("a signal while it loads ends it; a model that does not load is reported, with exit code 1", async () => {
    const { child, code } = await serve();
    child.kill("SIGTERM");
    expect(await code).toBe(0);
    const missing = await serve("--model", pathOf("test/none")).catch((error: Error) => error.message);
    if (typeof missing === "string") expect(missing).toContain("ended with 1");
    else expect(await missing.code).toBe(1);
  });

  it("says what is wrong before anything is loaded", async () => {
    const { url } = await serve();
    const { port } = new URL(url);
    await expect(serve("--port", port)).rejects.toThrow(/ended with 2: .*something listens there already/s);
    await expect(serve("--port", "70000")).rejects.toThrow(/ended with 2: .*whole number/s);
  });

  it("is reached through what stands in front: names of its own, HTTP/1.0 without a host, connections that are kept", async () => {
    const { url } = await serve("--allow-hosts", "vlm.example", "Backend");
    await healthy(url);
    const raw = (request: string) =>
      new Promise<string>((resolve) => {
        let said = "";
        const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write(request));
        socket.on("data", (data) => {
          said += data;
          if (said.includes("\r\n\r\n")) socket.end();
        });
        socket.on("close", () => resolve(said));
      });
    for (const host of ["vlm.example", "backend", "localhost:1", "127.0.0.1"])
      expect(await raw(`GET /health HTTP/1.1\r\nHost: ${host}\r\n\r\n`), host).toMatch(/^HTTP\/1.1 200 /);
    expect(await raw("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n")).toMatch(/^HTTP\/1.1 403 /);
    expect(await raw("GET /health HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1.1 200 /);
    expect(await raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")).toContain("Keep-Alive: timeout=75"); // nginx and load balancers: 60 s
  });

  it("warns where anybody can reach it without a key", async () => {
    const { said } = await serve("--host", "0.0.0.0");
    await expect.poll(said).toContain("give --api-key");
  });
});

describe("lmdeploy serve proxy", () => {
  it("--proxy-url registers once the model is there, again with a proxy that was started again, and not any more at SIGTERM", async () => {
    const proxy = await lmdeployProxy();
    proxy.refuse(true);
    const { child, url, code, said } = await serve("--proxy-url", `${proxy.url}/`, "--model-name", "internvl");
    await healthy(url);
    await expect.poll(said).toContain("does not take");
    proxy.refuse(false);
    await expect.poll(() => Object.keys(proxy.nodes)).toEqual([url]);
    const added = proxy.calls.filter(({ path }) => path === "/nodes/add").at(-1)!;
    expect(added).toEqual({ method: "POST", path: "/nodes/add", body: { url, status: { models: ["internvl"], role: 1 } } });
    proxy.stand(false);
    await expect.poll(said).toContain("does not answer");
    proxy.stand(true);
    await expect.poll(() => Object.keys(proxy.nodes)).toEqual([url]);
    delete proxy.nodes[url]; // the proxy's own heart beat has dropped it
    await expect.poll(() => Object.keys(proxy.nodes)).toEqual([url]);
    const running = await post(url, { ...LONG, model: "internvl" });
    child.kill("SIGTERM");
    await expect.poll(() => Object.keys(proxy.nodes)).toEqual([]);
    expect((await running.text()).trimEnd().endsWith("data: [DONE]")).toBe(true);
    expect(await code).toBe(0);
    expect(proxy.calls.filter(({ path }) => path.startsWith("/nodes/remove"))).toEqual([
      { method: "POST", path: `/nodes/remove?node_url=${encodeURIComponent(url)}`, body: { url } },
    ]);
    await proxy.close();
  });

  it("refuses an address that is none", async () => {
    for (const wrong of ["localhost:8000", "http://a?b"])
      await expect(serve("--proxy-url", wrong)).rejects.toThrow(/ended with 2: .*http\(s\) URL/s);
  });

  it.runIf(inject("full"))("a proxy that is not there keeps nothing from ending", async () => {
    const { child, url, code } = await serve("--proxy-url", "http://127.0.0.1:9", "--public-url", "http://10.1.1.1:80");
    await healthy(url);
    child.kill("SIGTERM");
    expect(await code).toBe(0);
  });
});

describe("docs/scaling.md", () => {
  // biome-ignore lint/suspicious/noExplicitAny: documents of several kinds
  const documents = (name: string): any[] => {
    const text = readFileSync(pathOf("docs/scaling.md"), "utf8");
    const [, yaml] = new RegExp(`<!-- ${name} -->\n\n\`\`\`yaml\n(.*?)^\`\`\``, "ms").exec(text)!;
    return parseAllDocuments(yaml!, { strict: true }).map((each) => {
      expect([each.errors, each.warnings]).toEqual([[], []]);
      return each.toJS();
    });
  };

  it("its Kubernetes objects fit together, and the server", async () => {
    const [deployment, service, pool, route] = documents("kubernetes");
    expect([deployment, service, pool, route].map(({ kind }) => kind)).toEqual(["Deployment", "Service", "InferencePool", "HTTPRoute"]);
    const labels = deployment.spec.template.metadata.labels;
    for (const selector of [deployment.spec.selector.matchLabels, service.spec.selector, pool.spec.selector.matchLabels])
      expect(selector).toEqual(labels);
    const [container] = deployment.spec.template.spec.containers;
    const { containerPort, name } = container.ports[0];
    expect(pool.spec.targetPorts).toEqual([{ number: containerPort }]);
    expect(service.spec.ports[0].targetPort).toBe(name);
    expect(route.spec.rules[0].backendRefs[0]).toEqual({ group: pool.apiVersion.split("/")[0], kind: pool.kind, name: pool.metadata.name });
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"])
      expect(container[probe].httpGet).toEqual({ path: "/health", port: name });
    expect(deployment.spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(600);
    // Its arguments are the command line's own: the server comes up with them, but for the model, which is not here.
    const [program, command, ...args] = container.args as string[];
    expect([program, command, args[args.indexOf("--port") + 1]]).toEqual(["internvl", "serve", String(containerPort)]);
    args.splice(args.indexOf("--model"), 2);
    args.splice(args.indexOf("--port"), 2);
    const { url } = await serve(...args);
    await healthy(url);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const named = readFileSync(pathOf("docs/scaling.md"), "utf8").match(/vllm:\w+/g)!;
    expect(named.length).toBe(3);
    for (const metric of named) expect(metrics).toMatch(new RegExp(`^${metric}\\{model_name="internvl"\\} [\\d.]+$`, "m"));
  });

  it("its configuration of LiteLLM names two replicas of one model", () => {
    const [{ model_list, router_settings }] = documents("litellm");
    expect(new Set(model_list.map(({ model_name }: { model_name: string }) => model_name))).toEqual(new Set(["internvl"]));
    const bases = model_list.map(({ litellm_params }: { litellm_params: { api_base: string; model: string } }) => litellm_params.api_base);
    expect(new Set(bases).size).toBe(2);
    for (const base of bases) expect(base).toMatch(/^http:\/\/[\d.]+:23333\/v1$/);
    expect(Object.keys(router_settings)).toEqual(["routing_strategy", "num_retries", "allowed_fails", "cooldown_time"]);
  });

  it("its flags are the command line's", async () => {
    const text = readFileSync(pathOf("docs/scaling.md"), "utf8");
    const { stdout } = await promisify(execFile)(process.execPath, [main, "serve", "--help"]);
    const commands = [...text.matchAll(/internvl serve (--.*)$/gm)].flatMap(([, flags]) => flags!.match(/--[\w-]+/g)!);
    expect(commands.length).toBeGreaterThan(6);
    for (const flag of commands) expect(stdout).toContain(flag);
  });

  it.runIf(inject("full"))("two replicas: one is killed under load, and no request that was let in is lost", async () => {
    const [one, two] = await Promise.all([serve(), serve()]);
    await Promise.all([healthy(one.url), healthy(two.url)]);
    const router = await reverseProxy([one.url, two.url]);
    const ask = async () => {
      const response = await post(router.url, TRIANGLE);
      return response.status === 200
        ? ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]!.message.content
        : response.status;
    };
    const answers: unknown[] = [];
    let killed = -1; // at which round of the router's probes
    const client = async () => {
      for (let i = 0; i < 25; i++) {
        answers.push(await ask());
        if (answers.length === 80) {
          one.child.kill("SIGKILL");
          killed = router.rounds();
        }
      }
    };
    await Promise.all(Array.from({ length: 12 }, client));
    expect(answers.length).toBe(300);
    expect(new Set(answers)).toEqual(new Set(["A triangle."]));
    const [gone, left] = router.states;
    expect([gone!.healthy, left!.healthy]).toEqual([false, true]);
    expect(gone!.taken).toBeGreaterThan(10);
    console.log(
      `300 requests of 12 clients: ${gone!.taken} before, ${left!.taken} by the other, ${router.retried()} asked again; seen after ${gone!.since - killed} rounds of probes, one each 0.1 s`,
    );
    expect(gone!.since - killed).toBeLessThan(10); // a second

    // One that is told to end is not killed: nothing has to be asked again but what it refuses.
    const third = await serve();
    await healthy(third.url);
    const gentle = await reverseProxy([third.url, two.url]);
    const soft: unknown[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let i = 0; i < 10; i++) {
          soft.push((await post(gentle.url, TRIANGLE)).status);
          if (soft.length === 30) third.child.kill("SIGTERM");
        }
      }),
    );
    expect(soft).toEqual(Array(80).fill(200));
    expect(await third.code).toBe(0);
    router.close();
    gentle.close();
  });
});
