// The child process of `internvl kernels compile`: runs on null hardware, where nothing is executed, and compiles what its job says. It never
// returns: the driver cannot be taken down.
import { readFileSync } from "node:fs";
import { loadModel } from "../../src/api/model-load.ts";
import { EngineError } from "../../src/errors.ts";
import { Arena } from "../../src/gpu/arena.ts";
import { type Gpu, openGpu } from "../../src/gpu/device.ts";
import { type Precision, Program, STEP_BYTES } from "../../src/gpu/program.ts";
import { kernelCases } from "../../src/harness/index.ts";
import { operandsOf } from "../../src/harness/operands.ts";
import { Random } from "../../src/harness/random.ts";
import { type ModelConfig, parseConfig } from "../../src/model/config.ts";
import { checkpointTensors } from "../../src/model/tensors.ts";
import type { MatrixDtype } from "../../src/tensor/tensor.ts";
import { chooseCases } from "../kernels/choose.ts";
import { syntheticTensors } from "../synthetic/source.ts";
import type { Job } from "./job.ts";
import { compileOrt } from "./ort.ts";
import { Recorder } from "./recorder.ts";
import { measureToken, type TokenCost } from "./token.ts";
import { entryPoints, withSubgroupSize } from "./wgsl.ts";

const CONTEXT = 8192; // the model's own default
const SLOTS_CONTEXT = 512;
const PENALTIES = { repetitionPenalty: 1.1, presencePenalty: 0.5, frequencyPenalty: 0.5, logitBias: [[1, 1]] as const };
const SAMPLING = { temperature: 1, topP: 0.9, topK: 40, minP: 0.1, ...PENALTIES, seed: 1 };

/** Layers are alike, and drivers allow no more memory than the machine has: a model of few has the kernels of the whole one. */
const LAYERS = 3;

/** Loads a model, of weights that nobody reads, with every program that answers need: greedy and drawn, of one slot and of eight. */
async function compileModel(gpu: Gpu, whole: ModelConfig, format: MatrixDtype, precision: Precision): Promise<void> {
  const { vision, language } = whole;
  const few = <T extends { layers: number }>(each: T): T => ({ ...each, layers: Math.min(LAYERS, each.layers) });
  const config = { ...whole, vision: few(vision), language: few(language) };
  const origin = syntheticTensors(gpu, checkpointTensors(config), 0);
  await gpu.memory.temporarily(async () => {
    const maxContext = Math.min(CONTEXT, config.language.maxPositions);
    const { model } = await loadModel(gpu, () => origin, config, { format, maxContext, kv: "f16", precision });
    await model.visionStage(config.tileSize);
    const together = await model.openDecoder(model.slotsIn(Number.POSITIVE_INFINITY, SLOTS_CONTEXT), SLOTS_CONTEXT);
    for (const decoder of [model.decoder, together]) await decoder.prepareSampling(SAMPLING);
  });
}

/** Nothing is computed: values need not be drawn. */
class Zeros extends Random {
  override values(count: number): Float32Array<ArrayBuffer> {
    return new Float32Array(count);
  }
}

/** Records the cases that this adapter supports, with operands that nobody fills. */
async function compileCases(gpu: Gpu, recorder: Recorder, { op, filter }: NonNullable<Job["cases"]>): Promise<void> {
  const cases = chooseCases(kernelCases(), { op, filter });
  if (typeof cases === "string") throw new Error(cases); // asked before
  const { memory } = gpu;
  for (const test of cases) {
    if (test.unsupported?.(gpu)) continue;
    recorder.user = test.name;
    await memory.temporarily(async () => {
      const step = memory.create("step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
      const program = new Program(gpu, test.name, test.maxUnits ?? test.step.units, new Arena(memory), step);
      try {
        test.record(
          program,
          operandsOf(program, new Zeros(test.name), (label, words) => memory.create(label, 4 * words)),
        );
      } catch (error) {
        if (error instanceof EngineError && error.code === "limit-exceeded") return; // unsupported, as kernels test says
        throw error;
      }
      await program.build();
    });
  }
}

async function compileFiles(gpu: Gpu, recorder: Recorder, { paths, size }: NonNullable<Job["files"]>): Promise<void> {
  const { device } = gpu;
  for (const path of paths) {
    recorder.user = path;
    const source = readFileSync(path, "utf8");
    const code = size === undefined ? source : withSubgroupSize(source, size);
    const points = entryPoints(source);
    for (const entryPoint of points) {
      device.pushErrorScope("validation"); // told by the pipeline
      const module = device.createShaderModule({ code });
      void device.popErrorScope();
      await recorder.compile(device, points.length > 1 ? `${path}:${entryPoint}` : path, {
        layout: "auto",
        compute: { module, entryPoint },
      });
    }
  }
}

async function work(job: Job): Promise<void> {
  const recorder = new Recorder(job.statistics);
  if (job.ort) {
    await compileOrt(recorder); // with a Dawn of its own: two do not end well in one process
    return recorder.finish("ONNX Runtime");
  }
  const gpu = await openGpu({ adapter: job.adapter, autotune: false });
  recorder.watch(gpu);
  const tokens: TokenCost[] = [];
  for (const { name, config, weights, precisions } of job.models ?? []) {
    const parsed = parseConfig(new TextEncoder().encode(config));
    for (const format of weights) {
      for (const precision of precisions) {
        recorder.user = `${name} ${format} ${precision}`;
        await compileModel(gpu, parsed, format, precision);
      }
      if (job.token) tokens.push(await measureToken(gpu, `${name} ${format}`, parsed, format));
    }
  }
  if (job.cases) await compileCases(gpu, recorder, job.cases);
  if (job.files) await compileFiles(gpu, recorder, job.files);
  recorder.finish(gpu.device.adapterInfo.description || gpu.adapterName, tokens);
}

try {
  await work(JSON.parse(process.argv[2]!) as Job);
} catch (error) {
  process.stderr.write(`${error instanceof EngineError ? `${error.code}: ${error.message}` : (error as Error).stack}\n`);
  process.kill(process.pid, "SIGTERM");
}
process.kill(process.pid, "SIGKILL");
