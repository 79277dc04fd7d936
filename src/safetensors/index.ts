export { quote, SafetensorsError, type SafetensorsErrorOptions } from "./errors.ts";
export { MAX_HEADER, parseHeader, readHeader } from "./header.ts";
export { parseIndex, type ShardIndex } from "./index-file.ts";
export type { Json, NumberText } from "./json.ts";
export { type Checkpoint, type CheckpointFile, type Directory, openCheckpoint } from "./reader.ts";
export { memorySource, type ReadContext, readExactly } from "./source.ts";
export { type Piece, type PieceOptions, type ReadTensorOptions, readPieces, readTensor, type TensorEntry } from "./tensor-data.ts";
export {
  type ByteSource,
  bitsPerElement,
  byteLength,
  bytesPerElement,
  DTYPES,
  type Dtype,
  type Header,
  INDEX_NAME,
  isDtype,
  MAX_READ,
  SINGLE_NAME,
  type TensorInfo,
} from "./types.ts";
export { type ByteSink, encodeHeader, type TensorSpec, type TensorToWrite, writeSafetensors } from "./writer.ts";
