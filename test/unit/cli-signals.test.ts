import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { HELD_WRITES } from "../shared/cli.ts";
import { pathOf } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");
const folder = mkdtempSync(join(tmpdir(), "internvl-signals-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts a command, sends the signal once `ready` says so, and returns what came of it. */
async function interrupted(args: string[], ready: () => boolean, signal: NodeJS.Signals, env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, env: { ...process.env, ...env } });
  let stderr = "";
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const code = new Promise((resolve) => child.once("close", resolve));
  while (!ready()) {
    if (child.exitCode !== null) throw new Error(`${args[0]} ended before it could be interrupted: ${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill(signal);
  const status = await code;
  return { code: status, lines: stderr.split("\n").filter((line) => line && !line.startsWith("Warning: max")) };
}

const partial = (name: string) => () =>
  readdirSync(folder).some((each) => each.startsWith(`.${name}.partial-`) && readdirSync(join(folder, each)).length > 0);

describe("a signal", () => {
  it.each([
    ["synth", "SIGINT", 130, ["synth", "--config", pathOf("test/fixtures/internvl2_5-4b.config.json"), "--out", "synth"]],
    ["convert", "SIGINT", 130, ["convert", "--model", pathOf("weights/nano"), "--to", "q8", "--out", "convert"]],
    ["synth", "SIGTERM", 143, ["synth", "--config", pathOf("test/fixtures/internvl2_5-4b.config.json"), "--out", "synth"]],
  ] as const)("ends %s at %s with a line and %i, and nothing is left", async (name, signal, code, args) => {
    expect(await interrupted([...args], partial(name), signal, HELD_WRITES)).toEqual({
      code,
      lines: [`internvl: aborted: stopped by ${signal}`],
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  it.runIf(process.platform === "linux")("takes the line away that tells how far a load is, on a terminal", async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const command = `exec "${process.execPath}" "${main}" chat --model http://127.0.0.1:${port}/model What?`;
    const child = spawn("script", ["-qec", command, "/dev/null"], { env: { ...process.env, XDG_CACHE_HOME: folder } });
    let shown = "";
    child.stdout.on("data", (data: Buffer) => {
      shown += data.toString();
      if (shown.endsWith("looking for the model")) child.stdin.write("\u0003");
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    server.closeAllConnections();
    server.close();
    expect(shown.replace("^C", "")).toContain("looking for the model\r\u001b[Kinternvl: aborted: stopped by SIGINT\r\n");
    expect(code).toBe(130);
  });

  it.runIf(process.platform === "linux").each([
    ["Ctrl-C", "\u0003", 130, "\r\ninternvl: aborted: stopped by SIGINT\r\n"],
    ["Ctrl-D", "\u0004", 1, "nothing was deleted\r\n"],
    ["no", "n\r", 1, "nothing was deleted\r\n"],
    ["yes", "y\r", 0, "deleted host--0123456789abcdef, 0.0 MB\r\n"],
  ])("rm asks, and takes %s for an answer", async (_, keys, status, end) => {
    const entry = join(folder, "internvl-webgpu/host--0123456789abcdef");
    mkdirSync(entry, { recursive: true });
    writeFileSync(join(entry, "config.json.internvl.json"), "{");
    const command = `exec "${process.execPath}" "${main}" rm host--0123456789abcdef`;
    const env = { ...process.env, XDG_CACHE_HOME: folder, HF_HOME: folder };
    const child = spawn("script", ["-qec", command, "/dev/null"], { env });
    let shown = "";
    child.stdout.on("data", (data: Buffer) => {
      if (!shown.includes("[y/N]") && `${shown}${data.toString()}`.includes("[y/N]")) child.stdin.write(keys);
      shown += data.toString();
    });
    expect(await new Promise((resolve) => child.once("close", resolve))).toBe(status);
    expect(shown.endsWith(end)).toBe(true);
    rmSync(join(folder, "internvl-webgpu"), { recursive: true });
  });

  it("ends a load from a server that is silent", async () => {
    let asked = false;
    const server = createServer(() => {
      asked = true;
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const args = ["chat", "--model", `http://127.0.0.1:${port}/model`, "What?"];
    const ended = await interrupted(args, () => asked, "SIGINT", { XDG_CACHE_HOME: folder });
    server.closeAllConnections();
    server.close();
    expect(ended).toEqual({ code: 130, lines: ["internvl: aborted: stopped by SIGINT"] });
  });

  it.runIf(process.platform === "linux")("ends a wait for a pipe that nobody opens, at the second of them", async () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const child = spawn(process.execPath, [main, "batch", pipe], { stdio: ["ignore", "ignore", "pipe"] });
    const ended = once(child, "close");
    const tasks = `/proc/${child.pid}/task`;
    const waits = () => readdirSync(tasks).some((id) => readFileSync(`${tasks}/${id}/wchan`, "utf8") === "wait_for_partner");
    while (child.exitCode === null && !waits()) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 300)); // sooner it would be the same key; later ones do no harm
    child.kill("SIGINT");
    expect((await ended)[1]).toBe("SIGINT");
    rmSync(pipe);
  });
});
