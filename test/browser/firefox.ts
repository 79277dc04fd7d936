import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The Firefox to test in: `$FIREFOX`, else Debian's, else one on the path; `undefined` where there is none. */
export function findFirefox(): string | undefined {
  const names = process.env.FIREFOX ? [process.env.FIREFOX] : ["firefox-esr", "firefox"];
  return names.find((name) => spawnSync(name, ["--version"], { encoding: "utf8" }).stdout?.includes("Firefox"));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Marionette, Firefox's own protocol, which needs no driver: `LENGTH:[0, id, command, parameters]`, answered by `LENGTH:[1, id, error, result]`. */
class Marionette {
  readonly #socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #id = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (more) => {
      this.#bytes = Buffer.concat([this.#bytes, more]);
    });
  }

  async receive(): Promise<unknown> {
    for (;;) {
      const colon = this.#bytes.indexOf(":");
      const length = Number(this.#bytes.subarray(0, Math.max(0, colon)).toString());
      if (colon > 0 && this.#bytes.length > colon + length) {
        const message = this.#bytes.subarray(colon + 1, colon + 1 + length).toString();
        this.#bytes = this.#bytes.subarray(colon + 1 + length);
        return JSON.parse(message);
      }
      await once(this.#socket, "data", { signal: AbortSignal.timeout(60_000) });
    }
  }

  async command(name: string, parameters: object = {}): Promise<unknown> {
    const message = JSON.stringify([0, ++this.#id, name, parameters]);
    this.#socket.write(`${Buffer.byteLength(message)}:${message}`);
    const [, , error, result] = (await this.receive()) as [1, number, { message: string } | null, { value: unknown }];
    if (error) throw new Error(`${name}: ${error.message}`);
    return result.value;
  }
}

export interface FirefoxPage {
  /** Runs the body of a function in the page. */
  evaluate(body: string): Promise<unknown>;
  /** A PNG file of what is seen. */
  screenshot(): Promise<Buffer>;
  close(): Promise<void>;
}

async function connect(port: number, firefox: ChildProcess): Promise<Socket> {
  for (let i = 0; i < 600; i++) {
    if (firefox.exitCode !== null) throw new Error(`Firefox ended with ${firefox.exitCode}`);
    const socket = createConnection(port, "127.0.0.1");
    const [event] = await Promise.race([
      once(socket, "connect").then(() => ["connect"]),
      once(socket, "close").then(() => ["close"]),
    ]).catch(() => ["error"]);
    if (event === "connect") return socket;
    await sleep(100);
  }
  throw new Error("Firefox does not listen");
}

/** Starts Firefox without a window, with a profile of its own, and opens a page. */
export async function openFirefox(
  executable: string,
  address: string,
  preferences: Readonly<Record<string, unknown>> = {},
): Promise<FirefoxPage> {
  const profile = await mkdtemp(join(tmpdir(), "internvl-firefox-"));
  const port = await freePort();
  const all = { "marionette.port": port, ...preferences };
  const lines = Object.entries(all).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  await writeFile(join(profile, "user.js"), lines.join(""));
  const firefox = spawn(executable, ["--headless", "--no-remote", "--marionette", "--profile", profile], {
    stdio: "ignore",
    env: { ...process.env, HOME: profile }, // it wants one that it may write to
  });
  const close = async () => {
    if (firefox.exitCode === null && firefox.kill()) await once(firefox, "exit");
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  try {
    const marionette = new Marionette(await connect(port, firefox));
    await marionette.receive(); // its greeting
    await marionette.command("WebDriver:NewSession", { capabilities: {} });
    await marionette.command("WebDriver:SetWindowRect", { width: 1280, height: 900 });
    await marionette.command("WebDriver:Navigate", { url: address });
    return {
      evaluate: (script) => marionette.command("WebDriver:ExecuteScript", { script, args: [] }),
      screenshot: async () => Buffer.from((await marionette.command("WebDriver:TakeScreenshot", { full: false })) as string, "base64"),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
