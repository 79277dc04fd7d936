export type { ImageDecoder, ImageLike, RawImage } from "./api/images.ts";
export { type ChatOptions, InternVL, type LoadOptions, type Progress } from "./api/internvl.ts";
export type { History, HistoryTurn, TiledImage, VideoLike } from "./api/prompt.ts";
export type { ChatReply, ChatResult, Timings, Usage } from "./api/reply.ts";
export { EngineError, type ErrorCode } from "./errors.ts";
export type { DeviceOptions } from "./gpu/device.ts";
export type { WeightFormat } from "./weights/checkpoint.ts";
export type { WeightSource } from "./weights/source.ts";
