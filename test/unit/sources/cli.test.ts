import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hubServer, temporaryFolder } from "../../hub-server.ts";
import { type Ended, hostedCli } from "../../shared/cli.ts";
import { filesIn, pathOf } from "../../support.ts";

const nano = pathOf("weights/nano");
const files = filesIn(nano);
const home = temporaryFolder();
const server = await hubServer("org/nano", files);
afterAll(async () => {
  await server.close();
  home.remove();
});

let host: ReturnType<typeof hostedCli>;
beforeAll(() => {
  host = hostedCli({ HF_ENDPOINT: server.origin, HF_HOME: home.path, HF_HUB_CACHE: "", XDG_CACHE_HOME: join(home.path, "cache") });
});
afterAll(() => host.close());
const internvl = (...args: string[]): Promise<Ended> => host.run(args, home.path);

it("inspect reads the headers of what lies on a server, and no tensor", async () => {
  const { status, stdout } = await internvl("inspect", "org/nano", "--json");
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toHaveProperty("tensors");
  const ranges = server.cdn.log.map(({ headers }) => headers.range);
  expect(ranges).toEqual(["bytes=0-8", expect.stringMatching(/^bytes=0-\d{1,6}$/)]);
  expect(readdirSync(home.path)).toEqual([]);
});

it("chat --model org/name downloads with its progress on stderr, and answers on stdout", async () => {
  const picture = join(nano, "images/card-1.png");
  const { status, stdout, stderr } = await internvl("chat", "--model", "org/nano", "--image", picture, "What shape is it?");
  expect(stderr).toMatch(/downloading .*: 9\.8 of 9\.8 MB.*\ndownloaded and checked 9\.8 MB in \d+ s$/);
  expect({ status, stdout }).toEqual({ status: 0, stdout: "A triangle.\n" });
});

it("pull, list and rm: what came is listed with its revisions, goes on, and is deleted when that is agreed to", async () => {
  const pulled = await internvl("pull", "org/nano@main", "--json");
  expect(pulled.status).toBe(0);
  expect(JSON.parse(pulled.stdout)).toMatchObject({ source: "org/nano", revision: "main", downloaded: false, decoder: "Qwen2ForCausalLM" });
  const { bytes } = JSON.parse(pulled.stdout) as { bytes: number };
  const listed = await internvl("list", "--json");
  expect(JSON.parse(listed.stdout)).toEqual({
    models: [{ source: "org/nano", bytes, complete: true, damaged: false, revisions: ["main"] }],
  });
  expect((await internvl("list")).stdout).toBe("org/nano     9.8 MB  main\n");

  const snapshots = join(home.path, "hub/models--org--nano/snapshots");
  const [commit] = readdirSync(snapshots);
  rmSync(join(snapshots, commit!, "model.safetensors"));
  const partial = await internvl("list");
  expect(partial.stdout).toMatch(/^org\/nano .* main; not whole\n$/);
  expect(partial.stderr).toContain("not whole: internvl pull goes on with it");
  expect(await internvl("pull", "org/nano")).toMatchObject({ status: 0, stdout: expect.stringMatching(/^org\/nano: .*, 9\.8 MB\n$/) });

  expect(await internvl("rm", "org/nano")).toMatchObject({
    status: 2,
    stdout: "",
    stderr: expect.stringContaining("--yes deletes org/nano (9.8 MB)"),
  });
  expect(await internvl("rm", "org/nano", "org/other", "--yes")).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('holds no "org/other"'),
  });
  expect(await internvl("rm", "org/nano", "--yes")).toMatchObject({ status: 0, stdout: "deleted org/nano, 9.8 MB\n" });
  expect(JSON.parse((await internvl("list", "--json")).stdout)).toEqual({ models: [] });
  const again = await internvl("pull", "org/nano");
  expect(again).toMatchObject({ status: 0, stdout: "org/nano: downloaded, 9.8 MB\n" });
  expect(again.stderr).toMatch(/downloading .*: 9\.8 of 9\.8 MB/);
});

it("list shows what is damaged, and rm deletes it", async () => {
  const damaged = join(home.path, "cache/internvl-webgpu/host--0123456789abcdef");
  mkdirSync(damaged, { recursive: true });
  writeFileSync(join(damaged, "config.json.internvl.json"), "{");
  expect((await internvl("list")).stdout).toMatch(/^host--0123456789abcdef +0\.0 MB {2}damaged$/m);
  expect((await internvl("rm", "host--0123456789abcdef", "-y")).status).toBe(0);
  expect(readdirSync(join(home.path, "cache/internvl-webgpu"))).toEqual([]);
});

it("a missing repository ends with one line that names the address and the remedy", async () => {
  const { status, stdout, stderr } = await internvl("chat", "--model", "org/mistyped", "What?");
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr.trim()).toBe(
    `internvl: network: no model "org/mistyped" (main): ${server.origin}/org/mistyped/resolve/main/config.json answers 401 Unauthorized ` +
      "(RepoNotFound) (neither a local folder nor a repository has this name, as it seems; check the name; for a private or gated model set HF_TOKEN)",
  );
});
