import { type CpuShaderName, shaders } from "./shaders.gen.ts";

type Kernels<Name> = Name extends `cpu/lib/${string}` ? never : Name;
type Libs<Name> = Name extends `cpu/lib/${infer Lib}` ? Lib : never;

/** A kernel of shaders/cpu. */
export const kernel = (name: Kernels<CpuShaderName>) => ({ shader: name as string, code: shaders[name] as string });

/** A library of shaders/cpu/lib. */
export const lib = (name: Libs<CpuShaderName>) => ({ code: shaders[`cpu/lib/${name}`] as string });
