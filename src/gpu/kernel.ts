import { EngineError, late } from "../errors.ts";
import { type Bindable, bindingOf } from "../tensor/tensor.ts";
import type { Counters } from "./counters.ts";
import type { MatrixSyntax } from "./language.ts";
import type { Wait } from "./pacing.ts";
import { type ShaderName as EarlyShaderName, shaders } from "./shaders.gen.ts";
import type { LateShaderName } from "./shaders-late.gen.ts";

/** How a binding is used: `u` uniform, `r` read-only storage, `w` storage that is written, `t` a texture of vec4s that is read. */
export type BindingKind = "u" | "r" | "w" | "t";

/** A shader or library of this package by its name, whether a page has it at once or fetches it when it is needed. */
export type ShaderName = EarlyShaderName | LateShaderName;

/** The library's WGSL as far as it is here. */
const texts: Partial<Record<ShaderName, string>> = { ...shaders };

/** Brings the WGSL that few models and devices run where a kernel is of it: other pages never download it. */
export async function bringTexts({ libs = [], ...source }: KernelSpec): Promise<void> {
  const parts = ["code" in source ? source : source.shader, ...libs];
  if (parts.every((part) => typeof part === "object" || texts[part] !== undefined)) return;
  Object.assign(texts, (await late("kernels that this model or device needs", import("./shaders-late.gen.ts"))).shaders);
}

/** What knows the forms of matrix units' WGSL comes where a device has them. */
export const bringLanguage = () => late("what knows matrix units", import("./language.ts"));

/** The WGSL of a kernel: one of shaders.gen.ts, or a kernel from elsewhere with a name for messages. */
export type KernelSource = { shader: ShaderName } | { shader: string; code: string };

/** WGSL that goes before it. */
export type Library = ShaderName | { code: string };

/** A shader with its libraries and constants: what a pipeline is made of. */
export type KernelSpec = KernelOptions & KernelSource;

interface KernelOptions {
  libs?: readonly Library[];
  /** Switches, and sizes that arrays depend on, put before the source as `const NAME = value;` (numbers become u32). */
  consts: Readonly<Record<string, number | boolean>>;
  /** WGSL directives, `enable f16;` and the like, which have to stand at the very start. */
  directives?: readonly string[] | undefined;
  /** Kinds of the bindings 0, 1, … of group 0. */
  bindings: string;
}

/** A compiled kernel, and the layout that its bind groups have to have. */
export interface Kernel {
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
}

/** The whole WGSL text of a kernel whose texts are here (`bringTexts`), whose subgroups are to have `pinned` threads where that is given. */
export function kernelSource(spec: KernelSpec, pinned?: number): string {
  const { libs = [], consts, directives = [] } = spec;
  const pinning = pinned ? ["enable subgroups;", "enable subgroup_size_control;"] : [];
  const head = [...new Set([...pinning, ...directives])].map((directive) => `${directive}\n`);
  const prelude = Object.entries(consts).map(([name, value]) => `const ${name} = ${typeof value === "number" ? `${value}u` : value};\n`);
  const parts = [
    ...libs.map((lib) => (typeof lib === "string" ? texts[lib]! : lib.code)),
    "code" in spec ? spec.code : texts[spec.shader]!,
  ];
  const body = parts.join("");
  return [...head, ...prelude, pinned ? body.replace(/^@compute /m, `@compute @subgroup_size(${pinned}) `) : body].join("");
}

const TYPES: Readonly<Record<BindingKind, Omit<GPUBindGroupLayoutEntry, "binding" | "visibility">>> = {
  u: { buffer: { type: "uniform" } },
  r: { buffer: { type: "read-only-storage" } },
  w: { buffer: { type: "storage" } },
  t: { storageTexture: { access: "read-only", format: "rgba32float" } },
};

/** What is bound for a buffer or a texture. */
export const resourceOf = (storage: Bindable | GPUTexture): GPUBindingResource =>
  "createView" in storage ? storage.createView() : bindingOf(storage);

/** The device's pipelines, one for each distinct kernel. */
export function kernelsOf(device: GPUDevice, wait: Wait, counters: Counters, pinned?: number, syntax: MatrixSyntax = "typed") {
  const kernels = new Map<string, Promise<Kernel>>();
  const layouts = new Map<string, GPUBindGroupLayout>();

  function layoutOf(bindings: string): GPUBindGroupLayout {
    const entryOf = (kind: string, binding: number) => ({ binding, visibility: GPUShaderStage.COMPUTE, ...TYPES[kind as BindingKind] });
    const layout = layouts.get(bindings) ?? device.createBindGroupLayout({ entries: [...bindings].map(entryOf) });
    layouts.set(bindings, layout);
    return layout;
  }

  async function compile(spec: KernelSpec, code: string): Promise<Kernel> {
    counters.pipelines++;
    const { shader: label } = spec;
    const layout = layoutOf(spec.bindings);
    const module = device.createShaderModule({ label, code });
    try {
      const descriptor = { label, layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module } };
      return { pipeline: await wait(() => device.createComputePipelineAsync(descriptor)), layout };
    } catch (cause) {
      const consts = JSON.stringify(spec.consts);
      const { messages } = await module.getCompilationInfo();
      const detail = messages.find(({ type }) => type === "error");
      const reason = detail ? `${detail.message} (line ${detail.lineNum} with its prelude)` : (cause as Error).message;
      throw new EngineError("limit-exceeded", `kernel ${label} ${consts} does not compile on this adapter: ${reason}`, { cause });
    }
  }

  return {
    /** How many pipelines were made. */
    get count(): number {
      return kernels.size;
    },
    /** The pipeline of a kernel, compiled on first use. @throws EngineError limit-exceeded with the compiler's message */
    async get(spec: KernelSpec): Promise<Kernel> {
      await bringTexts(spec);
      const typed = kernelSource(spec, pinned);
      const source = syntax === "flag" ? (await bringLanguage()).withFlags(typed) : typed;
      const key = `${spec.bindings}\n${source}`;
      let kernel = kernels.get(key);
      if (!kernel) {
        kernel = compile(spec, source);
        kernels.set(key, kernel);
        kernel.catch(() => kernels.delete(key)); // the caller gets the error; a later call may try again
      }
      return kernel;
    },
  };
}

/** The pipelines of a device. */
export type Kernels = ReturnType<typeof kernelsOf>;
