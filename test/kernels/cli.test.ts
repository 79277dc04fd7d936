import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { beforeAll, describe, expect, it } from "vitest";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { pathOf } from "../support.ts";

// The built program, as a user runs it: npm ci builds it.
const main = pathOf("dist/tools/cli/main.js");

async function internvl(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const { INTERNVL_ADAPTER: _, ...env } = process.env; // all adapters, whichever the other tests run on
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"], env });
  const status = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await status, stdout, stderr };
}

describe("internvl kernels", () => {
  let adapters: string[];
  beforeAll(async () => {
    adapters = (JSON.parse((await internvl("doctor", "--json")).stdout) as { adapters: string[] }).adapters;
  });

  it("test --json prints one document: every adapter present, every op that was asked for", async () => {
    const { status, stdout, stderr } = await internvl("kernels", "test", "--op", "rope", "--filter", "tokens=3,start=5,heads=1,", "--json");
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\{.*\}\n$/); // one line
    expect(stderr).toMatch(/^\d+ cases, random shapes from seed 1\n/m);
    const report = JSON.parse(stdout) as { adapters: { adapter: string }[] };
    expect(Object.keys(report)).toEqual(["adapters"]);
    expect(report.adapters.map(({ adapter }) => adapter)).toEqual(adapters);
    for (const one of report.adapters) {
      expect(one).toEqual({
        adapter: one.adapter,
        passed: expect.any(Number),
        failed: 0,
        unsupported: 0,
        ops: {
          rope: { cases: expect.any(Number), worstNmse: expect.any(Number), worstCase: expect.stringMatching(/^rope\(tokens=3,.*\)$/) },
        },
      });
      const { passed, ops } = one as unknown as { passed: number; ops: { rope: { cases: number; worstNmse: number } } };
      expect(passed).toBe(ops.rope.cases);
      expect(passed).toBeGreaterThan(0);
      expect(ops.rope.worstNmse).toBeLessThan(1e-12);
    }
  });

  it("test prints a table, here of one adapter", async () => {
    const { status, stdout } = await internvl("kernels", "test", "--filter", "pixel_unshuffle(grid=4,width=64)", "--adapter", adapters[0]!);
    expect(status).toBe(0);
    const [adapter, head, row, ...rest] = stdout.trimEnd().split("\n");
    expect(adapter).toBe(adapters[0]);
    expect(head).toMatch(/op\s+cases\s+passed\s+failed\s+unsupported\s+worst NMSE\s+worst case/);
    expect(row).toMatch(/^ {2}pixel_unshuffle\s+1\s+1\s+0\s+0\s+0\.0e\+0\s+pixel_unshuffle\(grid=4,width=64\)$/);
    expect(rest).toEqual([]);
  });

  it("test exits with 1 where a case fails, names it, and goes on with the others", async () => {
    const run = (...more: string[]) =>
      internvl("kernels", "test", "--cases", pathOf("test/fixtures/kernels/double.mjs"), "--adapter", adapters[0]!, ...more);
    const all = await run();
    expect(all.status).toBe(1);
    expect(all.stdout).toMatch(/^ {2}double_right\s+1\s+1\s+0\s+0 /m);
    expect(all.stdout).toMatch(/^ {2}double_wrong\s+1\s+0\s+1\s+0 /m);
    expect(all.stdout).toMatch(/^ {2}FAILED double_wrong\(n=100\): y: NMSE .* \(bound 1e-12\)/m);
    const json = await run("--json");
    expect(json.status).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ adapters: [{ passed: 1, failed: 1, unsupported: 0 }] });
    expect((await run("--op", "double_right")).status).toBe(0);
    expect((await run("--op", "nonsense")).status).toBe(2);
  });

  // The ceilings, which every bench measures first, take SwiftShader more than a minute.
  const SLOW = `bench measures every ceiling first: ${ELSEWHERE}`;
  it("bench --json prints the adapter's ceilings and the cases' speeds", async (context) => {
    context.skip(isQuick, SLOW);
    const adapter = adapters.find((name) => !/swiftshader/i.test(name)) ?? adapters[0]!;
    const { status, stdout } = await internvl("kernels", "bench", "--op", "rope", "--filter", "tokens=1,", "--json", "--adapter", adapter);
    expect(status).toBe(0);
    const number = expect.any(Number);
    const speeds = { n: number, ms: number, minMs: number, maxMs: number, gflops: number, gbps: number, fraction: number, ceiling: number };
    const of = { op: "rope", variant: "append", ...speeds, chosen: true };
    const report = JSON.parse(stdout) as { ceilings: Record<string, number>; cases: Record<string, number>[] };
    expect(report).toEqual({
      adapter,
      ceilings: { fmaGflops: number, streamGBps: number, copyGBps: number },
      cases: [{ name: "rope(tokens=1,start=2047,heads=16,kv_heads=2,d=128,context=2048,theta=1000000,kv=f32)", ...of }],
      problems: [],
    });
    for (const value of [...Object.values(report.ceilings), report.cases[0]!.ms, report.cases[0]!.fraction])
      expect(value).toBeGreaterThan(0);
  });

  it("bench --json tells of the whole model: first tokens with a picture, and which kernel each product takes", async (context) => {
    context.skip(isQuick, SLOW);
    const adapter = adapters.find((name) => !/swiftshader/i.test(name)) ?? adapters[0]!;
    const { status, stdout } = await internvl("bench", "--tokens", "4", "--prompt", "32", "--json", "--adapter", adapter);
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as { firstTokens: Record<string, unknown>[]; products: { program: string; product: string }[] };
    expect(report.firstTokens.map(({ tiles, tokens }) => [tiles, tokens])).toEqual([
      [1, 16 + 100],
      [13, 13 * 16 + 100],
    ]);
    // The picture and the first question are in the cache: of the second one its own 32 tokens are computed.
    expect(report.firstTokens.map(({ computed, secondComputed }) => [computed, secondComputed])).toEqual([
      [
        { tiles: 1, tokens: 16 + 100 },
        { tiles: 0, tokens: 32 },
      ],
      [
        { tiles: 13, tokens: 13 * 16 + 100 },
        { tiles: 0, tokens: 32 },
      ],
    ]);
    const inDecode = report.products.filter(({ program }) => program === "decode").map(({ product }) => product);
    expect(inDecode).toEqual([
      "layers.*.self_attn.q_proj+k_proj+v_proj",
      "layers.*.self_attn.o_proj",
      "layers.*.mlp.gate_proj+up_proj",
      "layers.*.mlp.down_proj",
      "lm_head",
    ]);
    expect(report.products[0]).toEqual({
      program: "vision",
      product: "embeddings.patch_embedding",
      shape: [192, 588],
      dtype: "bf16",
      rows: 260,
      variant: expect.any(String),
      why: expect.stringMatching(/^by the table, (of .+, .+|the only one that runs here)$/),
    });
  });
});
