// Brings a checkpoint's weights into a graph: each is external data inside the shard it came from, cast to the type
// that the graph computes in. ONNX Runtime folds the cast when the session opens. Never touches the bytes.

import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import type { ElementType, ExternalData } from "../onnx/model-proto.js";
import { ELEMENT_TYPES } from "../onnx/model-proto.js";

export interface WeightLocation {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  readonly data: ExternalData;
}

/** Where the bytes of a tensor lie, by its name in the checkpoint. */
export type LocateWeight = (name: string) => WeightLocation;

export class GraphWeights {
  readonly #builder: GraphBuilder;
  readonly #locate: LocateWeight;

  constructor(builder: GraphBuilder, locate: LocateWeight) {
    this.#builder = builder;
    this.#locate = locate;
  }

  /** The tensor as it is stored. */
  stored(name: string): Value {
    const { elementType, shape, data } = this.#locate(name);
    return this.#builder.external(name, elementType, shape, data);
  }

  /** Rows `start` to `end` of a matrix, as the type. */
  rows(name: string, start: number, end: number, type: ElementType): Value {
    const { elementType, shape, data } = this.#locate(name);
    const [rows = 1, ...rest] = shape;
    const rowBytes = data.byteLength / rows;
    const stored = this.#builder.external(`${name}[${start}:${end}]`, elementType, [end - start, ...rest], {
      ...data,
      offset: data.offset + start * rowBytes,
      byteLength: (end - start) * rowBytes,
    });
    return cast(this.#builder, stored, elementType, type);
  }

  /** The tensor as the type. */
  as(type: ElementType, name: string): Value {
    return cast(this.#builder, this.stored(name), this.#locate(name).elementType, type);
  }

  /** The type that the tensor is stored in. */
  storedType(name: string): ElementType {
    return this.#locate(name).elementType;
  }
}

/** The value as another type; itself when it is of that type. */
export function cast(builder: GraphBuilder, value: Value, from: ElementType, to: ElementType): Value {
  return from === to ? value : builder.op("Cast", [value], { attributes: { to: ELEMENT_TYPES[to] } });
}
