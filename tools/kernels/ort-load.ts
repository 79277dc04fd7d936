import { createRequire } from "node:module";
import { join } from "node:path";
import { EngineError } from "../../src/errors.ts";

type Floats = Float32Array<ArrayBuffer>;
type Data = { float32: Floats; int32: Int32Array<ArrayBuffer>; int64: BigInt64Array<ArrayBuffer> };

/** The part of onnxruntime-node's API that is used here. */
export interface OrtTensor<T extends keyof Data = "float32"> {
  readonly data: Data[T];
  dispose(): void;
}
type AnyTensor = OrtTensor<keyof Data>;
export interface OrtSession {
  run<T = Record<string, OrtTensor>>(feeds: Record<string, AnyTensor>): Promise<T>;
}
export interface Ort {
  Tensor: new <T extends keyof Data>(type: T, data: Data[T], dims: readonly number[]) => OrtTensor<T>;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
}

export const ON_CPU = { executionProviders: ["webgpu"], logSeverityLevel: 3 };
export const ON_GPU = { ...ON_CPU, preferredOutputLocation: "gpu-buffer" };

/** onnxruntime-node, from the folder INTERNVL_ORT where that is set. @throws EngineError bad-input */
export function loadOrt(): Ort {
  const folder = process.env.INTERNVL_ORT;
  const require = createRequire(folder ? join(folder, "package.json") : import.meta.url);
  try {
    return require("onnxruntime-node") as Ort;
  } catch (cause) {
    throw new EngineError("bad-input", `onnxruntime-node does not load${folder ? ` from ${folder}` : ""}`, {
      hint: "npm install --ignore-scripts onnxruntime-node@1.30.0 in a folder, and name that folder in INTERNVL_ORT",
      cause,
    });
  }
}
