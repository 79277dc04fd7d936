import { appendFileSync } from "node:fs";
import type { Gpu } from "../../src/gpu/device.ts";
import type { Kernel, KernelSpec } from "../../src/gpu/kernel.ts";
import type { TokenCost } from "./token.ts";

/** A kernel's name with what tells its variants apart: its constants, and those of its libraries that are one of several. */
export function kernelName({ shader, consts, libs = [] }: KernelSpec): string {
  const constants = Object.entries(consts).flatMap(([name, value]) =>
    value === true ? [name] : value === false ? [] : [`${name}=${value}`],
  );
  const variants = libs.flatMap((lib) => (typeof lib === "string" && lib.includes(".") ? [lib.replace("lib/", "")] : []));
  const parts = [...constants, ...variants];
  return parts.length ? `${shader}(${parts.join(",")})` : shader;
}

/** Stands in for a kernel that does not compile, so that the others still are. */
const STAND_IN = "@compute @workgroup_size(1) fn main() {}";
const NOBODY = -1;

/**
 * Compiles pipelines one after the other, and writes to the statistics whose lines come next: the driver appends what its compiler says.
 * Everything that is made is kept: the driver of null hardware cannot take it down.
 */
export class Recorder {
  /** Who asks for kernels now. */
  user = "";
  readonly #path: string;
  readonly #uses: Set<string>[] = []; // by a kernel's number
  readonly #kept: unknown[] = [];

  constructor(statistics: string) {
    this.#path = statistics;
  }

  #write(line: object): void {
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
  }

  /** Says that the driver's next lines are of this kernel. @returns its number */
  announce(kernel: string, users = new Set([this.user])): number {
    const id = this.#uses.push(users) - 1;
    this.#write({ kernel, id });
    process.stdout.write(`${kernel}\n`); // how far it is, for the parent
    return id;
  }

  /** Says that all went well. */
  finish(adapter: string, tokens: readonly TokenCost[] = []): void {
    this.#write({ done: true, adapter, uses: Object.fromEntries(this.#uses.map((users, id) => [id, [...users]])), tokens });
  }

  /** Compiles a pipeline. @returns it, or undefined where it does not compile: that is written down */
  async compile(
    device: GPUDevice,
    kernel: string,
    descriptor: GPUComputePipelineDescriptor,
    users?: Set<string>,
  ): Promise<GPUComputePipeline | undefined> {
    for (const filter of ["validation", "internal"] as const) device.pushErrorScope(filter);
    const id = this.announce(kernel, users);
    let pipeline: GPUComputePipeline | undefined;
    let failure: string | undefined;
    try {
      pipeline = device.createComputePipeline(descriptor); // here and now: the driver's lines follow the one above
    } catch (error) {
      failure = (error as Error).message;
    }
    const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    failure ??= errors.find((error) => error)?.message;
    this.#kept.push(pipeline, descriptor);
    if (failure === undefined) return pipeline;
    const { messages } = await descriptor.compute.module.getCompilationInfo();
    const wrong = messages.find(({ type }) => type === "error");
    this.#write({ error: wrong ? `line ${wrong.lineNum}: ${wrong.message}` : failure.split("\n")[0]!, id });
    return undefined;
  }

  /** Compiles so what this device's ops ask for. */
  watch({ device, kernels }: Gpu): void {
    type Asked = { kernel: string; users: Set<string> };
    const asked = new WeakMap<Promise<Kernel>, Asked>();
    const modules = new WeakMap<GPUShaderModule, Asked>();
    let now: Asked | undefined; // a kernel that is asked for the first time makes its module at once
    const get = kernels.get.bind(kernels);
    kernels.get = (spec) => {
      now = { kernel: kernelName(spec), users: new Set() };
      const kernel = get(spec);
      const entry = asked.get(kernel) ?? now;
      asked.set(kernel, entry);
      entry.users.add(this.user);
      now = undefined;
      return kernel;
    };
    const createShaderModule = device.createShaderModule.bind(device);
    device.createShaderModule = (descriptor) => {
      const module = createShaderModule(descriptor);
      if (now) modules.set(module, now);
      this.#kept.push(module);
      return module;
    };
    device.createComputePipelineAsync = async (descriptor) => {
      const { kernel = descriptor.label ?? "", users } = modules.get(descriptor.compute.module) ?? {};
      const pipeline = await this.compile(device, kernel, descriptor, users);
      if (pipeline) return pipeline;
      this.#write({ kernel: "", id: NOBODY });
      return device.createComputePipeline({ layout: descriptor.layout, compute: { module: createShaderModule({ code: STAND_IN }) } });
    };
  }
}
