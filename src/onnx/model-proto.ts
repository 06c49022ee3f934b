// The bytes of an ONNX ModelProto: nodes, inputs, outputs and initializers, some of them external data in other files.
// Field numbers are those of onnx.proto (ONNX IR version 10). Knows ONNX, nothing of language models.

import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** Element types by their number in onnx.proto (TensorProto.DataType). */
export const ELEMENT_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  uint32: 12,
  uint4: 21,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  bfloat16: 16,
  float8_e4m3fn: 17,
  float8_e4m3fnuz: 18,
  float8_e5m2: 19,
} as const;

export type ElementType = keyof typeof ELEMENT_TYPES;

export type Attribute = number | string | { readonly float: number } | { readonly graph: Graph } | readonly number[];

export interface Node {
  readonly type: string;
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** A plain number or list is integer; `{ float }` is a float, `{ graph }` the body of a Loop or If. */
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** Sizes, or a name for a size that is only known when the graph runs. */
export type Dimension = number | string;

export interface ValueInfo {
  readonly name: string;
  readonly elementType: ElementType;
  readonly shape: readonly Dimension[];
}

export interface Initializer {
  readonly name: string;
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  readonly data: Uint8Array | ExternalData;
}

/** Bytes in another file: `location` is relative to the folder that the session gets. */
export interface ExternalData {
  readonly location: string;
  readonly offset: number;
  readonly byteLength: number;
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly initializers: readonly Initializer[];
}

const IR_VERSION = 10;
const OPSET = 21;
const MICROSOFT_OPSET = 1;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_STRING = 3;
const ATTRIBUTE_GRAPH = 5;
const ATTRIBUTE_INTS = 7;
const DATA_LOCATION_EXTERNAL = 1;

/**
 * Encodes the graph as a ModelProto.
 * @param opset version of ONNX's operators: a provider has kernels only for some versions
 */
export function encodeModelProto(graph: Graph, opset: number = OPSET): Uint8Array {
  const writer = new BinaryWriter();
  int(writer, 1, IR_VERSION);
  text(writer, 2, "create-kv-scales");
  message(writer, 7, (w) => writeGraph(w, graph));
  for (const [domain, version] of [
    ["", opset],
    ["com.microsoft", MICROSOFT_OPSET],
  ] as const) {
    message(writer, 8, (w) => {
      text(w, 1, domain);
      int(w, 2, version);
    });
  }
  return writer.finish();
}

function writeGraph(writer: BinaryWriter, graph: Graph): void {
  for (const node of graph.nodes) message(writer, 1, (w) => writeNode(w, node));
  text(writer, 2, "segment");
  for (const initializer of graph.initializers) message(writer, 5, (w) => writeTensor(w, initializer));
  for (const input of graph.inputs) message(writer, 11, (w) => writeValueInfo(w, input));
  for (const output of graph.outputs) message(writer, 12, (w) => writeValueInfo(w, output));
}

function writeNode(writer: BinaryWriter, node: Node): void {
  for (const input of node.inputs) text(writer, 1, input);
  for (const output of node.outputs) text(writer, 2, output);
  text(writer, 3, node.name);
  text(writer, 4, node.type);
  for (const [name, value] of Object.entries(node.attributes))
    message(writer, 5, (w) => writeAttribute(w, name, value));
  if (node.domain !== "") text(writer, 7, node.domain);
}

function writeAttribute(writer: BinaryWriter, name: string, value: Attribute): void {
  text(writer, 1, name);
  if (typeof value === "number") {
    int(writer, 3, value);
    int(writer, 20, ATTRIBUTE_INT);
  } else if (typeof value === "string") {
    text(writer, 4, value);
    int(writer, 20, ATTRIBUTE_STRING);
  } else if ("float" in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    int(writer, 20, ATTRIBUTE_FLOAT);
  } else if ("graph" in value) {
    message(writer, 6, (w) => writeGraph(w, value.graph));
    int(writer, 20, ATTRIBUTE_GRAPH);
  } else {
    for (const element of value) int(writer, 8, element);
    int(writer, 20, ATTRIBUTE_INTS);
  }
}

function writeTensor(writer: BinaryWriter, { name, elementType, shape, data }: Initializer): void {
  for (const size of shape) int(writer, 1, size);
  int(writer, 2, ELEMENT_TYPES[elementType]);
  text(writer, 8, name);
  if (data instanceof Uint8Array) {
    writer.tag(9, WireType.LengthDelimited).bytes(data);
    return;
  }
  const entries = { location: data.location, offset: String(data.offset), length: String(data.byteLength) };
  for (const [key, value] of Object.entries(entries)) {
    message(writer, 13, (w) => {
      text(w, 1, key);
      text(w, 2, value);
    });
  }
  int(writer, 14, DATA_LOCATION_EXTERNAL);
}

function writeValueInfo(writer: BinaryWriter, { name, elementType, shape }: ValueInfo): void {
  text(writer, 1, name);
  message(writer, 2, (type) =>
    message(type, 1, (tensor) => {
      int(tensor, 1, ELEMENT_TYPES[elementType]);
      message(tensor, 2, (dimensions) => {
        for (const size of shape) {
          message(dimensions, 1, (w) => (typeof size === "number" ? int(w, 1, size) : text(w, 2, size)));
        }
      });
    }),
  );
}

function message(writer: BinaryWriter, field: number, write: (writer: BinaryWriter) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

function int(writer: BinaryWriter, field: number, value: number): void {
  writer.tag(field, WireType.Varint).int64(value);
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}
