// A checkpoint's weights in a graph: each is external data inside its shard (a byte range, if it is a part of a
// tensor), cast to the graph's type. ONNX Runtime folds the cast when the session opens. Never touches the bytes.

import { outputsAxis, type StoredSource, shapeOf, type WeightSource, wholeOf } from "../architectures/weight-source.js";
import type { GraphBuilder, Value } from "../onnx/graph-builder.js";
import type { ElementType, ExternalData } from "../onnx/model-proto.js";
import { ELEMENT_TYPES } from "../onnx/model-proto.js";
import { scaledWeight } from "./scaled-weights.js";

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

  /** Rows `start` to `end` of a tensor, cast to the type. */
  rows(name: string, start: number, end: number, type: ElementType): Value {
    return cast(this.#builder, this.#external(rowsOf(this.#located(name), start, end)), this.storedType(name), type);
  }

  /**
   * The weight of a source, cast to the type: [outputs, inputs], or [inputs, outputs] where inputs are stored first.
   */
  as(type: ElementType, source: WeightSource): Value {
    if (source.kind === "stacked") return this.#stack(type, source.of);
    const whole = wholeOf(source);
    if (whole.kind === "tensor") return cast(this.#builder, this.select(source), this.storedType(whole.name), type);
    return cast(this.#builder, scaledWeight(this.#builder, this, source, whole), "float32", type);
  }

  /** The tensor's stored type. */
  storedType(name: string): ElementType {
    return this.#locate(name).elementType;
  }

  /** What a source selects of a tensor, as it is stored: a byte range of the file where that is possible, else nodes. */
  select(source: WeightSource, view?: ElementType): Value {
    const located = this.#locateSource(source);
    if (located !== undefined) return this.#external(view === undefined ? located : viewedAs(located, view));
    if (source.kind !== "rows" && source.kind !== "interleaved") throw new RangeError(`no place for ${source.kind}`);
    return this.selectOutputs(this.select(source.of, view), source);
  }

  /** The same of a value that has the outputs of the source's own source. */
  selectOutputs(value: Value, source: Extract<WeightSource, { kind: "rows" | "interleaved" }>): Value {
    return source.kind === "rows" ? this.#slice(value, source) : this.#everyGroup(value, source);
  }

  #stack(type: ElementType, tensors: readonly StoredSource[]): Value {
    const parts = tensors.map((part) =>
      this.#builder.op("Unsqueeze", [this.as(type, part), this.#builder.int64s([0])]),
    );
    return this.#builder.op("Concat", parts, { attributes: { axis: 0 } });
  }

  /** The byte range of a source; undefined when it is not contiguous. */
  #locateSource(source: WeightSource): NamedLocation | undefined {
    switch (source.kind) {
      case "tensor":
        return { name: source.name, ...this.#locate(source.name), shape: source.shape };
      case "expert": {
        const stack = this.#locateSource(source.of);
        if (stack === undefined) return undefined;
        const bytes = stack.data.byteLength / (source.count ?? stack.shape[0] ?? 1);
        const data = { ...stack.data, offset: stack.data.offset + source.index * bytes, byteLength: bytes };
        return { ...stack, name: `${stack.name}[${source.index}]`, shape: shapeOf(source), data };
      }
      case "rows": {
        if (outputsAxis(source.of) !== 0) return undefined;
        const of = this.#locateSource(source.of);
        return of && rowsOf(of, source.start, source.end);
      }
      case "scaled":
      case "interleaved":
      case "stacked":
        return undefined;
    }
  }

  #slice(value: Value, { of, start, end }: Extract<WeightSource, { kind: "rows" }>): Value {
    const range = [start, end, outputsAxis(of)].map((number) => this.#builder.int64s([number]));
    return this.#builder.op("Slice", [value, ...range]);
  }

  /** Outputs as [groups, outputs of a group]: a slice of the second axis. */
  #everyGroup(value: Value, { of, groups, start, end }: Extract<WeightSource, { kind: "interleaved" }>): Value {
    const builder = this.#builder;
    const axis = outputsAxis(of);
    const before = axis === 1 ? [0] : [];
    const behind = shapeOf(of).slice(axis + 1);
    const reshape = (x: Value, outputs: readonly number[]) =>
      builder.op("Reshape", [x, builder.int64s([...before, ...outputs, ...behind])]);
    const range = [start, end, axis + 1].map((number) => builder.int64s([number]));
    const chosen = builder.op("Slice", [reshape(value, [groups, -1]), ...range]);
    return reshape(chosen, [groups * (end - start)]);
  }

  #located(name: string): NamedLocation {
    return { name, ...this.#locate(name) };
  }

  #external({ name, elementType, shape, data }: NamedLocation): Value {
    return this.#builder.external(name, elementType, shape, data);
  }
}

interface NamedLocation extends WeightLocation {
  readonly name: string;
}

/** Rows of a tensor that is stored with rows first. */
function rowsOf({ name, shape, data, ...others }: NamedLocation, start: number, end: number): NamedLocation {
  const [rows = 1, ...rest] = shape;
  const rowBytes = data.byteLength / rows;
  return {
    ...others,
    name: `${name}[${start}:${end}]`,
    shape: [end - start, ...rest],
    data: { ...data, offset: data.offset + start * rowBytes, byteLength: (end - start) * rowBytes },
  };
}

/** The same bytes as elements of another type; their number is that of the source's shape. */
function viewedAs(located: NamedLocation, elementType: ElementType): NamedLocation {
  return { ...located, name: `${located.name}:${elementType}`, elementType };
}

/** The value cast to another type; itself when it has that type. */
export function cast(builder: GraphBuilder, value: Value, from: ElementType, to: ElementType): Value {
  return from === to ? value : builder.op("Cast", [value], { attributes: { to: ELEMENT_TYPES[to] } });
}
