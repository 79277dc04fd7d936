import type { LanguageConfig } from "../../src/model/config.ts";
import type { GpuWeights } from "../../src/weights/gpu-weights.ts";
import { onnxModel } from "./onnx.ts";
import { loadOrt, ON_CPU, ON_GPU, type OrtTensor } from "./ort-load.ts";
import { type AttentionForm, qwen2Onnx } from "./qwen2-onnx.ts";

/** Ids behind a prompt, and the seconds from the first of them to the last. */
export interface Generated {
  ids: number[];
  seconds: number;
}

/** Greedy: the id behind the prompt, and `steps` more. */
type Decoder = (prompt: readonly number[], steps: number) => Promise<Generated>;

type Id = OrtTensor<"int64">;
type Step = { next: Id } & Record<string, OrtTensor>;
type Cache = Record<string, OrtTensor>; // by the names of the graph's inputs

/**
 * A decoder on ONNX Runtime's `webgpu` provider, on the Vulkan adapter that it picks. Keys and values stay on the GPU: each step's present is the next step's past. The id
 * comes back to the CPU in every step and goes in again, as a program that streams its answer has it; or, with `idOn: "gpu"`, it stays
 * there too, and only the last one is waited for. The prompt goes in token by token, once for each prompt, and is not timed.
 */
export async function ortDecoder(
  w: GpuWeights,
  config: LanguageConfig,
  options: { positions: number; form: AttentionForm; idOn: "cpu" | "gpu" },
): Promise<Decoder> {
  const { positions, form, idOn } = options;
  const ort = loadOrt();
  const model = await qwen2Onnx(w, config, positions, form);
  const cacheNames = Array.from({ length: config.layers }, (_, i) => [`${i}.key`, `${i}.value`]).flat();
  const onGpu = Object.fromEntries(cacheNames.map((name) => [`present.${name}`, "gpu-buffer"]));
  const session = await ort.InferenceSession.create(
    model,
    idOn === "gpu" ? ON_GPU : { ...ON_CPU, preferredOutputLocation: { ...onGpu, next: "cpu" } },
  );
  const one = { dims: [1, 1], type: "int64" } as const;
  const copy = await ort.InferenceSession.create(
    onnxModel([{ op: "Identity", inputs: ["x"], outputs: ["y"] }], { x: one }, { y: one }),
    ON_CPU,
  );
  const read = async (id: Id): Promise<number> => Number((idOn === "cpu" ? id : (await copy.run<{ y: Id }>({ x: id })).y).data[0]);

  const step = async (id: Id, position: number, past: Cache): Promise<{ next: Id; present: Cache }> => {
    const feeds: Record<string, OrtTensor<"float32" | "int32" | "int64">> = {
      ...past,
      id,
      position: new ort.Tensor("int32", Int32Array.of(position), [1]),
    };
    if (form === "GroupQueryAttention") feeds.total = new ort.Tensor("int32", Int32Array.of(position + 1), [1]);
    const out = await session.run<Step>(feeds);
    return { next: out.next, present: Object.fromEntries(cacheNames.map((name) => [`past.${name}`, out[`present.${name}`]!])) };
  };
  const free = (cache: Cache) => {
    for (const tensor of Object.values(cache)) tensor.dispose();
  };

  const { kvHeads, headDim } = config;
  const empty = (name: string): OrtTensor =>
    new ort.Tensor(
      "float32",
      new Float32Array(),
      form === "plain ops" && name.endsWith("key") ? [1, kvHeads, headDim, 0] : [1, kvHeads, 0, headDim],
    );
  const prefill = async (prompt: readonly number[]) => {
    let past: Cache = Object.fromEntries(cacheNames.map((name) => [`past.${name}`, empty(name)]));
    let next: Id | undefined;
    for (const [position, id] of prompt.entries()) {
      const done = await step(new ort.Tensor("int64", BigInt64Array.of(BigInt(id)), [1, 1]), position, past);
      free(past);
      past = done.present;
      next = done.next;
    }
    return { key: prompt.join(), past, first: next! };
  };

  let held: Awaited<ReturnType<typeof prefill>> | undefined;
  return async (prompt, steps) => {
    if (held?.key !== prompt.join()) {
      if (held) free(held.past);
      held = await prefill(prompt);
    }
    let { past } = held;
    await read(held.first);
    const made = [held.first];
    const began = performance.now();
    for (let i = 0; i < steps; i++) {
      const { next, present } = await step(made.at(-1)!, prompt.length + i, past);
      if (past !== held.past) free(past);
      past = present;
      made.push(next);
    }
    await read(made.at(-1)!);
    const seconds = (performance.now() - began) / 1e3;
    if (past !== held.past) free(past);
    const ids: number[] = [];
    for (const id of made) ids.push(await read(id));
    if (idOn === "gpu") for (const id of made.slice(1)) id.dispose();
    return { ids, seconds };
  };
}
