// Records an ONNX graph: `op(type, inputs, attributes)` appends a node and gives back its output value.
// Knows ONNX, nothing of language models.

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

/** Stands for an optional input that is not given. */
export const NONE = "" as Value;

/** Operators that ONNX Runtime adds to ONNX. */
export const MICROSOFT_DOMAIN = "com.microsoft";

interface OperatorOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
  /** Outputs that nobody wants, by number: the operator does not compute them. */
  readonly unused?: readonly number[];
}

export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #initializers = new Map<string, Initializer>();
  #counter = 0;

  /** Declares an input of the graph. */
  input(name: string, elementType: ElementType, shape: readonly Dimension[]): Value {
    this.#inputs.push({ name, elementType, shape });
    return name as Value;
  }

  /** Makes a value an output of the graph, under a name of its own. */
  output(value: Value, name: string, elementType: ElementType, shape: readonly Dimension[]): void {
    this.#nodes.push({ type: "Identity", domain: "", name, inputs: [value], outputs: [name], attributes: {} });
    this.#outputs.push({ name, elementType, shape });
  }

  /** Appends a node with one output. */
  op(type: string, inputs: readonly Value[], options: OperatorOptions = {}): Value {
    return this.ops(type, inputs, 1, options)[0] as Value;
  }

  /** Appends a node with several outputs. */
  ops(type: string, inputs: readonly Value[], outputs: number, options: OperatorOptions = {}): Value[] {
    const name = `${type}_${this.#counter++}`;
    const values = Array.from({ length: outputs }, (_, index) => `${name}:${index}` as Value);
    const { attributes = {}, domain = "", unused = [] } = options;
    const named = values.map((value, index) => (unused.includes(index) ? NONE : value));
    this.#nodes.push({ type, domain, name, inputs, outputs: named, attributes });
    return values;
  }

  /** A tensor whose bytes lie in another file. Asking twice for one name gives the same value. */
  external(name: string, elementType: ElementType, shape: readonly number[], data: ExternalData): Value {
    this.#initializers.set(name, { name, elementType, shape, data });
    return name as Value;
  }

  /** A small constant of 64-bit integers, one-dimensional. */
  int64s(values: readonly number[]): Value {
    const name = `int64:${values.join(",")}`;
    const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    this.#initializers.set(name, { name, elementType: "int64", shape: [values.length], data });
    return name as Value;
  }

  /** A constant of int32, without dimensions. */
  int32(value: number): Value {
    const name = `int32:${value}`;
    const data = new Uint8Array(Int32Array.of(value).buffer);
    this.#initializers.set(name, { name, elementType: "int32", shape: [], data });
    return name as Value;
  }

  /** A constant of float32, without dimensions. */
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

  #float32Constant(name: string, values: ArrayLike<number>, shape: readonly number[]): Value {
    const data = new Uint8Array(Float32Array.from(values).buffer);
    this.#initializers.set(name, { name, elementType: "float32", shape, data });
    return name as Value;
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
