import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type ConvertFormat, type ConvertOptions, type ConvertProgress, convertWeights, inspect, verify } from "../../src/convert.ts";
import { EngineError, InternVL } from "../../src/index.ts";
import { parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import { ELSEWHERE, isQuick } from "../shared/quick.ts";
import { memoryFiles, memoryFolder, syntheticFile, tinyCheckpoint } from "../support.ts";

const whole = tinyCheckpoint("tiny-qwen", 0);
const temporary = mkdtempSync(join(tmpdir(), "convert-"));
afterAll(() => rmSync(temporary, { recursive: true }));

async function refusal(work: Promise<unknown>): Promise<EngineError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(EngineError);
  return error as EngineError;
}

describe("convertWeights", () => {
  it.for(["q4", "q8", "f16"] as const)("writes a checkpoint in %s that loads, and reports it", async (to, context) => {
    context.skip(isQuick && to === "f16", `more of the same: ${ELSEWHERE}`);
    const out = memoryFolder();
    const told: ConvertProgress[] = [];
    const report = await convertWeights(memoryFiles(whole), { to, out, onProgress: (progress) => told.push(progress) });
    expect(out.stillOpen.size).toBe(0);
    expect([...out.files.keys()].sort()).toEqual(Object.keys(whole).sort());
    const phases = [...new Set(told.map(({ phase }) => phase))];
    expect(phases).toEqual(["resolve", "hash", "convert", "compare", "ready"]);
    for (const phase of phases) {
      const loaded = told.filter((each) => each.phase === phase);
      expect(loaded.map((each) => each.loaded)).toEqual(loaded.map((each) => each.loaded).sort((a, b) => a - b));
      expect(loaded.at(-1)).toMatchObject({ loaded: loaded[0]!.total, total: loaded[0]!.total });
    }
    const found = await inspect(out);
    expect(found.totals.bytes).toBe(report.bytes);
    expect(found.metadata.source_sha256).toBe(
      `${createHash("sha256").update(whole["model.safetensors"]!).digest("hex")}  model.safetensors`,
    );
    expect(found.parameters).toBe((await inspect(memoryFiles(whole))).parameters);
    expect(found.config.converted?.format).toBe(to === "f16" ? undefined : to);
    expect(report.sourceBytes).toBe((await inspect(memoryFiles(whole))).totals.bytes);
    expect(report.tensors).toHaveLength((await inspect(memoryFiles(whole))).totals.tensors);
    await verify(out);
    const vlm = await InternVL.load(out);
    expect(vlm.weights).toBe(to);
    await vlm.dispose();
  });

  it("writes into a folder that it makes, and into none that holds anything", async () => {
    const out = join(temporary, "deep", "q8");
    await convertWeights(memoryFiles(whole), { to: "q8", out, shardBytes: 500_000 });
    expect(readdirSync(out)).toContain("model.safetensors.index.json");
    expect((await verify(out)).files).toBeGreaterThan(2);
    const again = await refusal(convertWeights(memoryFiles(whole), { to: "q8", out }));
    expect(again).toMatchObject({ code: "bad-input", message: expect.stringMatching(/exists already, and is not empty/) });
    await verify(out); // nothing of it is lost
    const file = join(temporary, "file");
    writeFileSync(file, "mine");
    expect((await refusal(convertWeights(memoryFiles(whole), { to: "q8", out: file }))).message).toMatch(/is a file, needs to be a folder/);
  });

  it("writes into a folder that a page has opened", async () => {
    const { files, create, open, remove } = memoryFolder();
    const handle = {
      async *keys() {
        yield* files.keys();
      },
      async getFileHandle(name: string, options?: { create?: boolean }) {
        const source = await open(name);
        if (!source && !options?.create) throw Object.assign(new Error("no such file"), { name: "NotFoundError" });
        return {
          createWritable: () => create(name),
          getFile: async () => new File([(await source!.read(0, source!.size)) as Uint8Array<ArrayBuffer>], name),
        };
      },
      removeEntry: remove,
    } as unknown as FileSystemDirectoryHandle;
    const { bytes } = await convertWeights(memoryFiles(whole), { to: "q4", out: handle });
    expect((await inspect(handle)).totals.bytes).toBe(bytes);
    expect((await refusal(convertWeights(memoryFiles(whole), { to: "q4", out: handle }))).message).toMatch(/chosen folder exists already/);
  });

  it("removes what it wrote when writing fails, and tells the writer's own error", async () => {
    for (const failing of ["model.safetensors", "tokenizer.json", "config.json"]) {
      const out = memoryFolder(failing);
      await expect(convertWeights(memoryFiles(whole), { to: "q4", out })).rejects.toThrow("full of sand");
      expect([...out.files.keys()]).toEqual([]);
      expect(out.stillOpen.size).toBe(0);
    }
  });

  it.each(["hash", "convert", "compare"])("an abort in the phase %s ends as one, and leaves nothing", async (phase) => {
    const out = memoryFolder();
    const abort = new AbortController();
    const onProgress = (progress: ConvertProgress) => progress.phase === phase && abort.abort();
    const error = await refusal(convertWeights(memoryFiles(whole), { to: "q4", out, signal: abort.signal, onProgress }));
    expect([error.code, error.name]).toEqual(["aborted", "AbortError"]);
    expect([...out.files.keys()]).toEqual([]);
  });

  it("refuses a checkpoint that was converted before, and one whose values the format cannot hold", async () => {
    const q8 = memoryFolder();
    await convertWeights(memoryFiles(whole), { to: "q8", out: q8 });
    const twice = memoryFolder();
    expect(await refusal(convertWeights(q8, { to: "q4", out: twice }))).toMatchObject({
      code: "bad-input",
      hint: expect.stringContaining("original"),
    });
    expect([...twice.files.keys()]).toEqual([]);
    const large = new Uint8Array(whole["model.safetensors"]!);
    large.set([0, 0x7f], large.length - 2); // 1.7e38 in bf16, in the head
    const f16 = memoryFolder();
    const error = await refusal(convertWeights(memoryFiles({ ...whole, "model.safetensors": large }), { to: "f16", out: f16 }));
    expect(error).toMatchObject({ code: "bad-weights", message: expect.stringContaining("language_model.lm_head.weight") });
    expect([...f16.files.keys()]).toEqual([]);
  });

  const source = memoryFiles(whole);
  const out = { create: async () => ({ write: async () => {}, close: async () => {} }), open: async () => undefined };
  it.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /to is undefined, needs a format/],
    ["no folder", { to: "q4" }, /out is undefined, needs a folder/],
    ["no format", { out }, /to is undefined/],
    ["another format", { to: "q3", out }, /to is "q3", needs one of q4, q8, f32, f16, bf16/],
    ["an empty path", { to: "q4", out: " " }, /out is " ", needs a folder's path/],
    ["a list for a folder", { to: "q4", out: [] }, /out is an empty list, needs/],
    [
      "a folder that cannot be read back",
      { to: "q4", out: { create: out.create } },
      /out is an object with create, needs .*create\(name\) and open/,
    ],
    ["no size", { to: "q4", out, shardBytes: 0 }, /shardBytes is 0, needs a positive integer/],
    ["no device", { to: "q4", out, device: "llvmpipe" }, /device is "llvmpipe", needs a GPUDevice/],
    ["no signal", { to: "q4", out, signal: {} }, /signal is an object without keys, needs an AbortSignal/],
    ["an unknown option", { to: "q4", out, shardSize: 5 }, /no option "shardSize"/],
    ["options that are none", "q4", /what convertWeights was given as options is "q4"/],
  ])("refuses %s", async (_, options, message) => {
    const error = await refusal(convertWeights(source, options as ConvertOptions));
    expect(error.code).toBe("bad-input");
    expect(error.message).toMatch(message);
  });

  it("says what no model can come from, before anything else", async () => {
    const options = { to: "q4" as ConvertFormat, out };
    expect((await refusal(convertWeights(5 as never, options))).message).toMatch(/the model's source is 5/);
    expect((await refusal(convertWeights(memoryFiles({}), options))).message).toMatch(/there is no config\.json/);
    expect((await refusal(inspect(null as never))).message).toMatch(/the model's source is null/);
    expect((await refusal(verify(source, { out: "x" } as never))).message).toMatch(/verify has no option "out"/);
  });
});

describe("inspect and verify", () => {
  const tensors = checkpointTensors(parseConfig(whole["config.json"]!));
  const files = (weights: Uint8Array) => memoryFiles({ ...whole, "model.safetensors": weights });

  it("tell what is there without a GPU, and read all of it only to verify", async () => {
    const bytes = tensors.reduce((sum, { shape }) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0);
    const found = await inspect(memoryFiles(whole));
    expect(found.totals).toEqual({ tensors: tensors.length, bytes, dtypes: { BF16: { tensors: tensors.length, bytes } } });
    expect(found.parameters).toBe(bytes / 2);
    expect(found.tensors.map(({ name, shape }) => ({ name, shape })).sort()).toEqual([...tensors].sort());
    const told: { loaded: number; total: number }[] = [];
    const onProgress = (progress: { loaded: number; total: number }) => told.push(progress);
    expect(await verify(memoryFiles(whole), { onProgress })).toEqual({ files: 1, tensors: tensors.length, bytes });
    expect(told.at(-1)).toEqual({ loaded: bytes, total: bytes });
  });

  it("verify refuses NaN, tensors that nobody asks for, and missing ones; inspect tells of such files all the same", async () => {
    const broken = syntheticFile(tensors, 0);
    broken.set([0xc0, 0x7f], broken.length - 2); // a NaN in bf16
    expect((await refusal(verify(files(broken)))).message).toBe(`tensor "${tensors.at(-1)!.name}" holds 1 infinities or NaN`);
    const more = syntheticFile([...tensors, { name: "lost", shape: [2] }], 0);
    expect((await refusal(verify(files(more)))).message).toMatch(/"lost" is not one that config\.json asks for/);
    const less = syntheticFile(tensors.slice(1), 0);
    expect((await refusal(verify(files(less)))).message).toMatch(`tensor "${tensors[0]!.name}" is missing`);
    expect((await inspect(files(more))).totals.tensors).toBe(tensors.length + 1);
    expect((await inspect(files(less))).totals.tensors).toBe(tensors.length - 1);
  });

  it("end when they are aborted", async () => {
    const abort = new AbortController();
    const work = verify(memoryFiles(whole), { signal: abort.signal, onProgress: () => abort.abort() });
    expect((await refusal(work)).code).toBe("aborted");
    expect((await refusal(inspect(memoryFiles(whole), { signal: AbortSignal.abort() }))).code).toBe("aborted");
  });
});
