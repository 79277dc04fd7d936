/** Just enough of ONNX's protobuf (onnx.proto3) to write models: field numbers in the comments are its own. */

const FLOAT = 1;
const UINT8 = 2;
const INT32 = 6;
const INT64 = 7;
const IR_VERSION = 8;
const OPSET = 17;

export interface OnnxTensor {
  name: string;
  dims: readonly number[];
  data: Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | Int32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;
}

export interface OnnxNode {
  op: string;
  /** `com.microsoft` for ONNX Runtime's own ops. */
  domain?: string;
  inputs: readonly string[];
  outputs: readonly string[];
  ints?: Readonly<Record<string, number>>;
  floats?: Readonly<Record<string, number>>;
}

/** An input or output of the graph; a size may be a name, where it differs from run to run. */
export interface OnnxValue {
  dims: readonly (number | string)[];
  type: "float32" | "int32" | "int64";
}

/** Inputs and outputs by name: f32 where only a shape is given. */
type Values = Readonly<Record<string, readonly number[] | OnnxValue>>;

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  while (rest >= 128) {
    out.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return [...out, rest];
}

const int = (field: number, value: number): Buffer => Buffer.from([...varint(field * 8), ...varint(value)]);
const float = (field: number, value: number): Buffer =>
  Buffer.concat([Buffer.from(varint(field * 8 + 5)), Buffer.from(Float32Array.of(value).buffer)]);
const bytes = (field: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(body.length)]), body]);
};
const text = (field: number, value: string): Buffer => bytes(field, Buffer.from(value));

function typeOf(data: OnnxTensor["data"]): number {
  if (data instanceof Float32Array) return FLOAT;
  if (data instanceof Uint8Array) return UINT8;
  return data instanceof Int32Array ? INT32 : INT64;
}

/** TensorProto: dims 1, data_type 2, name 8, raw_data 9. */
const tensor = ({ name, dims, data }: OnnxTensor): Buffer[] => [
  ...dims.map((dim) => int(1, dim)),
  int(2, typeOf(data)),
  text(8, name),
  bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
];

const TYPES = { float32: FLOAT, int32: INT32, int64: INT64 };

/** ValueInfoProto: name 1, type 2 { tensor_type 1 { elem_type 1, shape 2 { dim 1 { dim_value 1, dim_param 2 } } } }. */
const value = ([name, shape]: [string, readonly number[] | OnnxValue]): Buffer[] => {
  const { dims, type }: OnnxValue = "dims" in shape ? shape : { dims: shape, type: "float32" };
  const sizes = dims.map((dim) => bytes(1, typeof dim === "number" ? int(1, dim) : text(2, dim)));
  return [text(1, name), bytes(2, bytes(1, int(1, TYPES[type]), bytes(2, ...sizes)))];
};

/** NodeProto: input 1, output 2, name 3, op_type 4, attribute 5 { name 1, f 2, i 3, type 20 }, domain 7. */
const node = ({ op, domain, inputs, outputs, ints = {}, floats = {} }: OnnxNode): Buffer[] => [
  ...inputs.map((input) => text(1, input)),
  ...outputs.map((output) => text(2, output)),
  text(3, outputs[0]!), // names are unique, as outputs are
  text(4, op),
  ...Object.entries(ints).map(([name, v]) => bytes(5, text(1, name), int(3, v), int(20, 2))),
  ...Object.entries(floats).map(([name, v]) => bytes(5, text(1, name), float(2, v), int(20, 1))),
  ...(domain ? [text(7, domain)] : []),
];

/** ModelProto: ir_version 1, graph 7 { node 1, name 2, initializer 5, input 11, output 12 }, opset_import 8 { domain 1, version 2 }. */
export function onnxModel(nodes: readonly OnnxNode[], inputs: Values, outputs: Values, weights: readonly OnnxTensor[] = []): Buffer {
  return Buffer.concat([
    int(1, IR_VERSION),
    bytes(
      7,
      ...nodes.map((n) => bytes(1, ...node(n))),
      text(2, "bench"),
      ...weights.map((w) => bytes(5, ...tensor(w))),
      ...Object.entries(inputs).map((v) => bytes(11, ...value(v))),
      ...Object.entries(outputs).map((v) => bytes(12, ...value(v))),
    ),
    bytes(8, int(2, OPSET)),
    bytes(8, text(1, "com.microsoft"), int(2, 1)),
  ]);
}
