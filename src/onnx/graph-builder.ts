// Records an ONNX graph: `op(type, inputs, attributes)` appends a node and returns its output value. Knows ONNX,
// nothing of language models.

import type {
  Attribute,
  Dimension,
  ElementType,
  ExternalData,
  Graph,
  Initializer,
  Node,
  ValueInfo,
} from "./model-proto.js";

/** A value of the graph. An opaque name: only the builder makes them. */
export type Value = string & { readonly __brand: "Value" };

/** An optional input that is not given. */
export const NONE = "" as Value;

/** Operators that ONNX Runtime adds to ONNX. */
export const MICROSOFT_DOMAIN = "com.microsoft";

interface OperatorOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
  /** Numbers of outputs that are not needed: the operator does not compute them. */
  readonly unused?: readonly number[];
}

export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #prefix: string;
  #counter = 0;

  /** @param prefix of every name in the graph */
  constructor(prefix = "") {
    this.#prefix = prefix;
  }

  /** Declares an input of the graph. */
  input(name: string, elementType: ElementType, shape: readonly Dimension[]): Value {
    const value = this.#named(name);
    this.#inputs.push({ name: value, elementType, shape });
    return value;
  }

  /** Makes a value an output of the graph, under a name of its own. */
  output(value: Value, name: string, elementType: ElementType, shape: readonly Dimension[]): void {
    const output = this.#named(name);
    this.#nodes.push({
      type: "Identity",
      domain: "",
      name: output,
      inputs: [value],
      outputs: [output],
      attributes: {},
    });
    this.#outputs.push({ name: output, elementType, shape });
  }

  /** Appends a node with one output. */
  op(type: string, inputs: readonly Value[], options: OperatorOptions = {}): Value {
    return this.ops(type, inputs, 1, options)[0] as Value;
  }

  /** Appends a node with several outputs. */
  ops(type: string, inputs: readonly Value[], outputs: number, options: OperatorOptions = {}): Value[] {
    const name = this.#named(`${type}_${this.#counter++}`);
    const values = Array.from({ length: outputs }, (_, index) => `${name}:${index}` as Value);
    const { attributes = {}, domain = "", unused = [] } = options;
    const named = values.map((value, index) => (unused.includes(index) ? NONE : value));
    this.#nodes.push({ type, domain, name, inputs, outputs: named, attributes });
    return values;
  }

  /** A tensor whose bytes are in another file. The same name gives the same value. */
  external(name: string, elementType: ElementType, shape: readonly number[], data: ExternalData): Value {
    return this.#initializer(name, elementType, shape, data);
  }

  /** A small constant of 64-bit integers, one-dimensional. */
  int64s(values: readonly number[]): Value {
    const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.#initializer(`int64:${values.join(",")}`, "int64", [values.length], data);
  }

  /** A constant of 64-bit integers, 0-dim. */
  int64(value: number): Value {
    const data = new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
    return this.#initializer(`scalar_int64:${value}`, "int64", [], data);
  }

  /** A constant of int32, 0-dim. */
  int32(value: number): Value {
    return this.#initializer(`int32:${value}`, "int32", [], new Uint8Array(Int32Array.of(value).buffer));
  }

  /** A constant of float32, 0-dim. */
  float32(value: number): Value {
    return this.#float32Constant(`float32:${value}`, [value], []);
  }

  /** A small constant of float32, one-dimensional. */
  float32s(values: readonly number[]): Value {
    return this.#float32Constant(`float32s:${values.join(",")}`, values, [values.length]);
  }

  /** A table of float32, one-dimensional, under a name of its own. */
  float32Table(name: string, values: Float32Array): Value {
    return this.#float32Constant(name, values, [values.length]);
  }

  /** A table of signed bytes, under a name of its own. */
  int8Table(name: string, shape: readonly number[], values: Int8Array): Value {
    return this.#initializer(name, "int8", shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  #float32Constant(name: string, values: ArrayLike<number>, shape: readonly number[]): Value {
    return this.#initializer(name, "float32", shape, new Uint8Array(Float32Array.from(values).buffer));
  }

  #initializer(name: string, elementType: ElementType, shape: readonly number[], data: Initializer["data"]): Value {
    const value = this.#named(name);
    this.#initializers.set(value, { name: value, elementType, shape, data });
    return value;
  }

  #named(name: string): Value {
    return `${this.#prefix}${name}` as Value;
  }

  /**
   * Records a subgraph, which an operator such as Loop runs. It can read every value of this graph recorded so far. Its
   * names have a prefix of their own, because a name may stand for only one value. It has its own constants, so that
   * ONNX Runtime places them on the device where its operators need them.
   */
  subgraph(record: (body: GraphBuilder) => void): { readonly graph: Graph } {
    const body = new GraphBuilder(this.#named(`body_${this.#counter++}/`));
    record(body);
    return { graph: body.finish() };
  }

  finish(): Graph {
    return {
      nodes: this.#nodes,
      inputs: this.#inputs,
      outputs: this.#outputs,
      initializers: [...this.#initializers.values()],
    };
  }
}
