import { throwIfAborted } from "../errors.ts";
import { type Activation, type Bindable, bindingOf, type Rows } from "../tensor/tensor.ts";
import { compilesLate } from "./adapter-kind.ts";
import { Arena, type Scratch } from "./arena.ts";
import type { Gpu } from "./device.ts";
import { type KernelSpec, resourceOf } from "./kernel.ts";
import { checkDemand } from "./limits.ts";

/**
 * What products may do to their operands.
 * - exact: nothing but f32 rounding, on matrix units by operands in two parts.
 * - auto: an operand may be rounded to f16 (a relative error of 2^-12), x only where its product says that it is bounded.
 * - fast: besides, with q8 and q4 weights, x may be rounded to 8 bits a group of 32: the result's relative L2 error stays below 0.015 for
 *   activations without outliers.
 */
export type Precision = "exact" | "auto" | "fast";

/** What changes from one replay to the next; lies in a small uniform buffer that every kernel sees at binding 0. */
export interface Step {
  /** Units of work: tokens in the decoder, tiles in the vision tower. */
  units: number;
  /** Position of the first token in the sequence; of rows that are sequences of their own, the furthest of their positions. */
  start: number;
  /** Where each of those rows is in its sequence; by default row r is at `start` + r. */
  positions?: readonly number[] | undefined;
  /**
   * The slot of each of those rows: where its sequence has its cache, settings and id. By default row r is slot r's. In the vision tower the
   * place of each tile's visual tokens.
   */
  slots?: readonly number[] | undefined;
}

/** The most slots that one step can serve. */
export const MAX_SLOTS = 8;

/** lib/step: units, start, two words of nothing, the positions, the slots. */
export const STEP_BYTES = 16 + 2 * 4 * MAX_SLOTS;

const PARAMS_BYTES = 64; // the largest Params, rounded up to 16
const PARAMS_STRIDE = 256; // minUniformBufferOffsetAlignment is at most this

/** Workgroups of a dispatch, in x, y and z. */
export type Grid = readonly [number, number, number];

/** One run of a kernel in a program. */
export interface Dispatch {
  kernel: KernelSpec;
  /** The kernel's own sizes: the words of its `Params` at binding 1. They never change. */
  params: readonly number[];
  /** Bound at 2, 3, …; binding 0 is the step, binding 1 the params. */
  buffers: readonly (Bindable | GPUTexture)[];
  /** How many workgroups a step takes, by three dimensions. */
  workgroups: (step: Step) => Grid;
  /** Most steps leave it out (no workgroups). A program built with `defer` compiles it only when `prepare` is called. */
  optional?: boolean;
}

interface Copy {
  from: Bindable;
  to: Bindable;
  range: (step: Step) => { fromOffset: number; toOffset: number; bytes: number };
}

/** A command between dispatches. */
export interface Command {
  pipeline?: undefined;
  /** Whether a step needs it. Without this function every step does. */
  wanted?(step: Step): boolean;
  encode(encoder: GPUCommandEncoder, step: Step): void;
}

type Item = Dispatch | Command;

interface Built {
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  workgroups: (step: Step) => Grid;
}

/** What a run of a program does besides. */
export interface RunOptions {
  /** Adds commands to the end of the program's command buffer. */
  tail?: ((encoder: GPUCommandEncoder) => void) | undefined;
}

/** Which kernel a product takes in a program, and by what. */
export interface Choice {
  program: string;
  product: string;
  /** Of the weight: [N, K]. */
  shape: readonly [number, number];
  dtype: string;
  /** At most. */
  rows: number;
  variant: string;
  why: string;
}

/** Called for each intermediate that has a name while a program is recorded: it may record a copy of it, as traces for tests do. */
export type Tap = (name: string, x: Activation, program: Program) => void;

/**
 * A list of dispatches, recorded once and replayed for every step. Replaying creates no buffer, bind group or pipeline.
 */
export class Program {
  readonly gpu: Gpu;
  readonly arena: Scratch;
  readonly label: string;
  /** The most units a step may have: activations are sized for it. */
  readonly maxUnits: number;
  readonly precision: Precision;
  /** What was chosen for its products. */
  readonly choices: Choice[] = [];
  readonly #step: GPUBuffer;
  readonly #items: Item[] = [];
  readonly #words = new Uint32Array(STEP_BYTES / 4); // what goes into #step
  #built: (Built | Command | undefined)[] = []; // undefined: optional, and not prepared yet
  #params: GPUBuffer | undefined;

  constructor(gpu: Gpu, label: string, maxUnits: number, arena: Scratch, step: GPUBuffer, precision: Precision = "exact") {
    this.gpu = gpu;
    this.precision = precision;
    this.label = label;
    this.maxUnits = maxUnits;
    this.arena = arena;
    this.#step = step;
  }

  /** An f32 activation [rows, width] from the arena, valid until the scope ends. */
  activation(label: string, rows: Rows, width: number): Activation {
    return { label, rows, width, buffer: this.arena.take(this.maxRows(rows) * width * 4) };
  }

  /** Rows of an activation in the largest step. */
  maxRows(rows: Rows): number {
    return rows.base + rows.unit * this.maxUnits;
  }

  /** @throws EngineError limit-exceeded, bad-input: at once what the device would say later (checkDemand) */
  dispatch(dispatch: Dispatch): void {
    const { kernel, params, buffers, workgroups } = dispatch;
    const grid = workgroups({ units: this.maxUnits, start: 0 });
    checkDemand(this.gpu.device, { kernel: kernel.shader, bindings: kernel.bindings, params, buffers, grid });
    this.#items.push(dispatch);
  }

  /** Records a copy between buffers. */
  copy({ from, to, range }: Copy): void {
    const [source, target] = [bindingOf(from), bindingOf(to)];
    this.command({
      encode(encoder, step) {
        const { fromOffset, toOffset, bytes } = range(step);
        encoder.copyBufferToBuffer(source.buffer, (source.offset ?? 0) + fromOffset, target.buffer, (target.offset ?? 0) + toOffset, bytes);
      },
    });
  }

  /** Records a command between dispatches. */
  command(command: Command): void {
    this.#items.push(command);
  }

  /** Dispatches in one replay. */
  get dispatches(): number {
    return this.#items.filter((item) => "kernel" in item).length;
  }

  /** Compiles the pipelines, all at once, and makes the bind groups; with `defer` those of optional dispatches wait for `prepare`. */
  async build({ defer = false } = {}): Promise<this> {
    const { memory } = this.gpu;
    // All params in one buffer, at the offsets that every adapter allows.
    const dispatches = this.#items.filter((item): item is Dispatch => "kernel" in item);
    const words = new Uint32Array((dispatches.length * PARAMS_STRIDE) / 4);
    for (const [i, { params }] of dispatches.entries()) words.set(params, (i * PARAMS_STRIDE) / 4);
    this.#params = memory.create(`params ${this.label}`, words.byteLength, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    memory.write(this.#params, 0, words);
    this.#built = await this.#compile((item) => !(defer && item.optional));
    return this;
  }

  /** Compiles what was deferred. */
  async prepare(): Promise<void> {
    if (this.#built.includes(undefined)) this.#built = await this.#compile(() => true);
  }

  /** Makes every item ready to run, except for dispatches that are neither wanted now nor compiled before. */
  #compile(wanted: (item: Dispatch) => boolean): Promise<(Built | Command | undefined)[]> {
    let dispatches = 0;
    return Promise.all(
      this.#items.map(async (item, i) => {
        if (!("kernel" in item)) return item;
        const offset = dispatches++ * PARAMS_STRIDE;
        return this.#built[i] ?? (wanted(item) ? this.#bind(item, offset) : undefined);
      }),
    );
  }

  async #bind(item: Dispatch, offset: number): Promise<Built> {
    const { device, kernels, counters } = this.gpu;
    const { pipeline, layout } = await kernels.get(item.kernel);
    const params = { buffer: this.#params!, offset, size: PARAMS_BYTES };
    const step = { buffer: this.#step, size: STEP_BYTES };
    const entries = [step, params, ...item.buffers.map(resourceOf)].map((resource, binding) => ({ binding, resource }));
    counters.bindGroups++;
    const bindGroup = device.createBindGroup({ label: item.kernel.shader, layout, entries });
    return { pipeline, bindGroup, workgroups: item.workgroups };
  }

  /** Every pipeline that is built, with what one of its dispatches binds. */
  pipelines(): Map<GPUComputePipeline, GPUBindGroup> {
    return new Map(this.#built.flatMap((item) => (item?.pipeline ? [[item.pipeline, item.bindGroup]] : [])));
  }

  /** Gives back what build() made; the program cannot run afterwards. */
  dispose(): void {
    if (this.#params) this.gpu.memory.destroy(this.#params);
    this.#built = [];
  }

  /** Submits one step: everything in one command buffer, and nothing is waited for. */
  run(step: Step, { tail }: RunOptions = {}): void {
    if (step.units > this.maxUnits) throw new Error(`program ${this.label} takes ${this.maxUnits} units, got ${step.units}`);
    const began = performance.now();
    const { device, counters } = this.gpu;
    this.#writeStep(step);
    const encoder = device.createCommandEncoder({ label: this.label });
    let pass: GPUComputePassEncoder | undefined;
    let dispatches = 0;
    for (let i = 0; i < this.#built.length; i++) {
      const item = this.#built[i];
      if (item?.pipeline) {
        const [x, y, z] = item.workgroups(step);
        if (x * y * z === 0) continue; // an op's way to say that this step does not need it
        pass ??= encoder.beginComputePass();
        pass.setPipeline(item.pipeline);
        pass.setBindGroup(0, item.bindGroup);
        pass.dispatchWorkgroups(x, y, z);
        dispatches++;
      } else if (item) {
        if (item.wanted?.(step) === false) continue;
        pass?.end();
        pass = undefined;
        item.encode(encoder, step);
      } else {
        const [x, y, z] = (this.#items[i] as Dispatch).workgroups(step);
        if (x * y * z > 0) throw new Error(`program ${this.label}: dispatch ${i} is asked for, but was not prepared`);
      }
    }
    counters.dispatches += dispatches;
    pass?.end();
    tail?.(encoder);
    device.queue.submit([encoder.finish()]);
    counters.submits++;
    counters.cpuMs += performance.now() - began;
  }

  #writeStep({ units, start, positions, slots }: Step): void {
    const words = this.#words;
    words[0] = units;
    words[1] = start;
    for (let row = 0; row < MAX_SLOTS; row++) {
      words[4 + row] = positions?.[row] ?? start + row;
      words[4 + MAX_SLOTS + row] = slots?.[row] ?? row;
    }
    this.gpu.device.queue.writeBuffer(this.#step, 0, words);
  }
}

/** Makes the programs of one model: they share the scratch memory and the step buffer. */
export class Programs {
  readonly gpu: Gpu;
  readonly arena: Arena;
  readonly #precision: Precision;
  readonly #step: GPUBuffer;
  readonly #warm = new WeakSet<GPUComputePipeline>(); // that have run

  constructor(gpu: Gpu, precision: Precision = "exact") {
    this.gpu = gpu;
    this.#precision = precision;
    this.arena = new Arena(gpu.memory);
    this.#step = gpu.memory.create("step", STEP_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  }

  /**
   * Has the adapter compile what it has not compiled yet: where pipelines are compiled late, one workgroup of each that these programs have
   * is run, of the smallest step. It overwrites what such a step would: only for programs that nothing has come out of yet.
   *
   * @param onPipeline called before the first and after each, with how many there are in all
   * @throws EngineError aborted, device-lost
   */
  async warm(programs: readonly Program[], signal?: AbortSignal, onPipeline?: (done: number, total: number) => void): Promise<void> {
    const { device, kind, memory } = this.gpu;
    const all = new Map(programs.flatMap((program) => [...program.pipelines()]));
    const cold = [...all].filter(([pipeline]) => compilesLate(kind) && !this.#warm.has(pipeline));
    const smallest = new Uint32Array(STEP_BYTES / 4);
    smallest[0] = 1; // unit
    memory.write(this.#step, 0, smallest);
    onPipeline?.(0, cold.length);
    for (const [i, [pipeline, bindGroup]] of cold.entries()) {
      throwIfAborted(signal);
      const encoder = device.createCommandEncoder({ label: `warm ${pipeline.label}` });
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(1);
      pass.end();
      device.queue.submit([encoder.finish()]);
      await memory.flush();
      this.#warm.add(pipeline);
      onPipeline?.(i + 1, cold.length);
    }
  }

  /** Gives the step buffer back, when no program of these runs any more. */
  dispose(): void {
    this.gpu.memory.destroy(this.#step);
  }

  /** Records a program of one unit, runs it and disposes of it. */
  async once(label: string, record: (program: Program) => void): Promise<void> {
    const program = await this.record(label, 1, record);
    program.run({ units: 1, start: 0 });
    program.dispose();
  }

  /** Records a program and builds it; see `Program.build`. */
  async record(label: string, maxUnits: number, record: (program: Program) => void, options: { defer?: boolean } = {}): Promise<Program> {
    return this.gpu.memory.scoped(`program ${label}`, async () => {
      for (;;) {
        const program = new Program(this.gpu, label, maxUnits, this.arena, this.#step, this.#precision);
        this.arena.scope(() => record(program));
        if (!(await this.gpu.tuning.settle())) return program.build(options); // else once more, with the variants just measured
      }
    });
  }
}

/** The number of rows in a step. */
export const rowsOf = (rows: Rows, step: Step): number => rows.base + rows.unit * step.units;
