/**
 * What is done with a checkpoint's files without running the model: look at them, check them, convert them.
 *
 * @module internvl-webgpu/convert
 */

export { type Conversion, type ConvertOptions, type ConvertProgress, convertWeights } from "./api/convert.ts";
export { type Inspection, type InspectOptions, inspect, type Verified, type VerifyOptions, verify } from "./api/inspect.ts";
export { EngineError, type ErrorCode } from "./errors.ts";
export type { DeviceOptions } from "./gpu/device.ts";
export type { OutputFile, OutputFolder, OutputLike } from "./hub/output.ts";
export type { HubOptions, SourceLike, WeightSource } from "./hub/source.ts";
export type { Converted, LanguageConfig, ModelConfig, VisionConfig } from "./model/config.ts";
export type { Packed } from "./model/config-packed.ts";
export type { Layout } from "./model/families.ts";
export type { MemoryNeed } from "./model/memory.ts";
export type { Rope } from "./model/rope.ts";
export type { ConvertFormat } from "./weights/convert.ts";
export type { TensorReport } from "./weights/verify.ts";
