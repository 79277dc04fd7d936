/**
 * The library: loads a model and asks it, in Node and in pages.
 *
 * @module internvl-webgpu
 */

export type { BatchItem, BatchOptions } from "./api/batch.ts";
export { cachedModels } from "./api/cached-models.ts";
export type { Schema } from "./api/format.ts";
export type { GenerationOptions } from "./api/generation.ts";
export type { ImageDecoder, PictureOptions } from "./api/image-options.ts";
export type { ImageLike, RawImage } from "./api/images.ts";
export { InternVL } from "./api/internvl.ts";
export type { LoadOptions, Progress } from "./api/load.ts";
export type { ContentPart, History, HistoryTurn, ImagePart, ImageUrlPart, Message, TextPart } from "./api/messages.ts";
export type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  ChatDelta,
  ChatImagePart,
  ChatMessage,
  ChatPart,
  ChatTextPart,
  ChatTool,
  ChatToolCall,
  ChatToolCallDelta,
  ChatVideoPart,
  Complete,
  CompletionOptions,
  CompletionTimings,
  CompletionUsage,
  FinishReason,
  Logprob,
  ResponseFormat,
  TokenLogprob,
} from "./api/openai-types.ts";
export type { Source as ImageSource, StoredPixels } from "./api/pictures.ts";
export type { ChatOptions, PromptOptions, VideoFile, VideoLike } from "./api/prompt.ts";
export type { BatchAnswer, BatchFailure, BatchResult, ChatReply, ChatResult, Timings, Usage } from "./api/reply.ts";
export type { SendOptions, Session, SessionOptions } from "./api/session.ts";
export { EngineError, type ErrorCode } from "./errors.ts";
export type { PromptProgress } from "./generate/request.ts";
export type { DeviceOptions } from "./gpu/device.ts";
export type { Precision } from "./gpu/program.ts";
export type { CachedModel } from "./hub/cached.ts";
export type { HubOptions, SourceLike, WeightSource } from "./hub/source.ts";
export { type Box, parseBoxes } from "./media/boxes.ts";
export type { KvDtype } from "./ops/kv-cache.ts";
export type { MatrixDtype } from "./tensor/tensor.ts";
export type { WeightFormat } from "./weights/formats.ts";
