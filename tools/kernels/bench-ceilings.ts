import type { Gpu } from "../../src/gpu/device.ts";
import { compiles } from "../../src/gpu/language.ts";
import { type Program, Programs } from "../../src/gpu/program.ts";
import { f32Bits } from "../../src/ops/check.ts";
import { shaders } from "../../src/ops/tools/shaders.gen.ts";
import { type Contender, timeInterleaved } from "./bench-timer.ts";

/** What this adapter can do at most, measured. */
export interface Ceilings {
  fmaGflops: number;
  /** By the fastest way to read: buffers, or texture storage. */
  streamGBps: number;
  copyGBps: number;
}

const THREADS = 64;
/** Chains of vec4s, links a round, fused: few long chains suit a GPU's registers, many short ones a CPU's. */
const CHAINS = [
  [2, 16, true],
  [4, 16, true],
  [8, 8, true],
  [4, 3, true],
  [6, 3, true],
  [8, 3, true],
  [12, 3, true],
  [4, 16, false],
  [8, 3, false],
] as const;
const STEP = { units: 1, start: 0 };

const probe = (name: keyof typeof shaders) => ({ shader: name, code: shaders[name] });
const stream = (from: "buffer" | "texture") => ({ ...probe("bench.stream"), libs: [{ code: shaders[`bench.from_${from}`] }] });

/** A kernel or copy that does nothing but what the ceiling is about. */
interface Probe {
  ceiling: keyof Ceilings;
  /** Flops or bytes of a run. */
  work: number;
  record(program: Program): void;
}

/** Which probes there are to choose from. */
interface ProbeOptions {
  /** Of a buffer or texture. */
  bytes: number;
  /** Whether shaders may read texture storage. */
  textures: boolean;
}

/** What was measured, and for each ceiling which of the probes was the fastest. */
export interface MeasuredCeilings {
  ceilings: Ceilings;
  fastest: Record<keyof Ceilings, number>;
  options: ProbeOptions;
}

/** The fastest probe of a ceiling, to be timed in turns with what is held against it. */
export interface CeilingContender extends Contender {
  /** Flops or bytes of a run. */
  work: number;
}

const TEXTURE_WIDTH = 2048;
const MIN_BYTES = 2 ** 20; // whole rows of a texture; what moves less is bound by its dispatch

/** Far larger than the caches, where the adapter's bindings permit. */
const largeBytes = ({ memory }: Gpu): number => 2 ** Math.floor(Math.log2(Math.min(memory.maxBinding, 2 ** 28)));

async function readsTextures({ device, kind }: Gpu): Promise<boolean> {
  if (kind === "gpu") return false; // no kernel of a GPU's reads them
  return compiles(device, "texture", "@group(0) @binding(0) var probe: texture_storage_2d<rgba32float, read>;");
}

function textureOf({ memory }: Gpu, bytes: number): GPUTexture {
  const label = "bench.texture";
  const size = [TEXTURE_WIDTH, bytes / 16 / TEXTURE_WIDTH];
  return memory.hold({ label, bytes }, () =>
    memory.device.createTexture({ label, size, format: "rgba32float", usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST }),
  );
}

/**
 * Some configurations a ceiling: chains of fused or separate multiply-adds in registers; buffers and textures read by neighbouring threads
 * side by side or in stretches.
 */
function probesOf(gpu: Gpu, { bytes, textures }: ProbeOptions): Probe[] {
  const { memory, kind } = gpu;
  const out = memory.create("bench.out", 16);
  const groups = kind === "cpu" ? 64 : 4096;
  const probes: Probe[] = CHAINS.map(([chains, links, fused]) => {
    const rounds = Math.ceil(16384 / (chains * links));
    return {
      ceiling: "fmaGflops",
      work: groups * THREADS * rounds * chains * links * 8,
      record: (p) =>
        p.dispatch({
          kernel: { ...probe("bench.fma"), consts: { CHAINS: chains, LINKS: links, FUSED: fused }, bindings: "uuw" },
          params: [rounds, f32Bits(0.5), f32Bits(0.25)],
          buffers: [out],
          workgroups: () => [groups, 1, 1],
        }),
    };
  });
  const x = memory.create("bench.x", bytes);
  const y = memory.create("bench.y", bytes);
  const rows = bytes / 16 / TEXTURE_WIDTH;
  const texture = textures && rows <= memory.device.limits.maxTextureDimension2D ? textureOf(gpu, bytes) : undefined;
  for (const split of [false, true]) {
    for (const most of kind === "cpu" ? [2 ** 10, 2 ** 14] : [2 ** 16, 2 ** 18]) {
      const threads = Math.min(most, bytes / (16 * 8)); // a thread takes 8 vec4s at least
      const common = { params: [bytes / 16, threads], workgroups: () => [threads / THREADS, 1, 1] as const };
      const kernel = { consts: { SPLIT: split }, bindings: "uurw" };
      const read = { ...common, kernel: { ...kernel, ...stream("buffer") }, buffers: [x, out] } as const;
      const copy = { ...common, kernel: { ...kernel, ...probe("bench.copy") }, buffers: [x, y] } as const;
      probes.push({ ceiling: "streamGBps", work: bytes, record: (p) => p.dispatch(read) });
      probes.push({ ceiling: "copyGBps", work: 2 * bytes, record: (p) => p.dispatch(copy) });
      if (!texture) continue;
      const fetch = {
        ...common,
        kernel: { ...stream("texture"), consts: { SPLIT: split, WIDTH: TEXTURE_WIDTH }, bindings: "uutw" },
        buffers: [texture, out],
      } as const;
      probes.push({ ceiling: "streamGBps", work: bytes, record: (p) => p.dispatch(fetch) });
    }
  }
  const range = () => ({ fromOffset: 0, toOffset: 0, bytes });
  probes.push({ ceiling: "copyGBps", work: 2 * bytes, record: (p) => p.copy({ from: x, to: y, range }) });
  return probes;
}

async function contenderOf(gpu: Gpu, programs: Programs, { ceiling, work, record }: Probe): Promise<CeilingContender> {
  const program = await programs.record(ceiling, 1, record);
  const run = async (iterations: number) => {
    for (let i = 0; i < iterations; i++) program.run(STEP);
    await gpu.memory.flush();
  };
  return { work, run };
}

async function measure(gpu: Gpu): Promise<MeasuredCeilings> {
  const programs = new Programs(gpu);
  const options = { bytes: largeBytes(gpu), textures: await readsTextures(gpu) };
  const probes = probesOf(gpu, options);
  const contenders: CeilingContender[] = [];
  for (const probe of probes) contenders.push(await contenderOf(gpu, programs, probe));
  const times = await timeInterleaved(contenders, 4);
  const ceilings: Ceilings = { fmaGflops: 0, streamGBps: 0, copyGBps: 0 };
  const fastest = { fmaGflops: 0, streamGBps: 0, copyGBps: 0 };
  for (const [i, { ceiling, work }] of probes.entries()) {
    const speed = work / times[i]!.median / 1e6;
    if (speed <= ceilings[ceiling]) continue;
    ceilings[ceiling] = speed;
    fastest[ceiling] = i;
  }
  return { ceilings, fastest, options };
}

/** Measures the best of some configurations of each ceiling. */
export const measureCeilings = (gpu: Gpu): Promise<MeasuredCeilings> => gpu.memory.temporarily(() => measure(gpu));

/**
 * A ceiling's fastest probe, to be held against a case that moves `bytes`: for reading and copying it also runs on about that many, since a
 * case's data may stay in a cache that the large buffers do not fit. The ceiling is the faster of the two. What they take of memory is there
 * until the `Memory.temporarily` around ends.
 */
export async function ceilingContenders(
  gpu: Gpu,
  { fastest, options }: MeasuredCeilings,
  ceiling: keyof Ceilings,
  bytes: number,
): Promise<CeilingContender[]> {
  const like = Math.max(MIN_BYTES, 2 ** Math.floor(Math.log2(bytes)));
  const sizes = ceiling !== "fmaGflops" && like < options.bytes ? [options.bytes, like] : [options.bytes];
  const programs = new Programs(gpu);
  return Promise.all(sizes.map((size) => contenderOf(gpu, programs, probesOf(gpu, { ...options, bytes: size })[fastest[ceiling]]!)));
}
