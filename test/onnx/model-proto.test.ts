import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors-header.js";
import { GraphBuilder, MICROSOFT_DOMAIN, NONE } from "../../src/onnx/graph-builder.js";
import {
  type Attribute,
  ELEMENT_TYPES,
  type ElementType,
  encodeModelProto,
  type Graph,
} from "../../src/onnx/model-proto.js";
import { openSession } from "../../src/runtime/session.js";
import { safetensorsOf, temporaryFolder } from "../helpers/safetensors-files.js";

const folder = temporaryFolder();

/** One message, field by field, as protobuf's wire format has it: knows nothing of ONNX. */
class Message {
  readonly #fields = new Map<number, (number | Uint8Array)[]>();

  constructor(bytes: Uint8Array) {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      this.#fields.set(field, [...this.#of(field), readValue(reader, wireType)]);
    }
  }

  #of(field: number): (number | Uint8Array)[] {
    return this.#fields.get(field) ?? [];
  }

  get fieldNumbers(): number[] {
    return [...this.#fields.keys()].sort((a, b) => a - b);
  }

  numbers(field: number): number[] {
    return this.#of(field).map(Number);
  }

  number(field: number): number | undefined {
    return this.numbers(field)[0];
  }

  allBytes(field: number): Uint8Array[] {
    return this.#of(field).map((value) =>
      value instanceof Uint8Array ? value : expect.fail(`field ${field}: ${value}`),
    );
  }

  texts(field: number): string[] {
    return this.allBytes(field).map((bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  }

  text(field: number): string | undefined {
    return this.texts(field)[0];
  }

  messages(field: number): Message[] {
    return this.allBytes(field).map((bytes) => new Message(bytes));
  }

  message(field: number): Message {
    return this.messages(field)[0] ?? expect.fail(`no field ${field}`);
  }
}

function readValue(reader: BinaryReader, wireType: WireType): number | Uint8Array {
  if (wireType === WireType.Varint) return Number(reader.int64());
  if (wireType === WireType.LengthDelimited) return reader.bytes();
  if (wireType === WireType.Bit32) return reader.float();
  return expect.fail(`wire type ${wireType} is not used in ONNX models`);
}

const EMPTY: Graph = { nodes: [], inputs: [], outputs: [], initializers: [] };
const decode = (graph: Partial<Graph>) => new Message(encodeModelProto({ ...EMPTY, ...graph }));
const graphOf = (graph: Partial<Graph>) => decode(graph).message(7);

// Field numbers below are those of onnx.proto.
describe("the bytes of a model", () => {
  test("name the version of the format, the producer and the operator sets", () => {
    const model = decode({});
    expect(model.fieldNumbers).toEqual([1, 2, 7, 8]);
    expect(model.number(1)).toBe(10);
    expect(model.text(2)).toBe("create-kv-scales");
    expect(model.messages(8).map((opset) => [opset.text(1), opset.number(2)])).toEqual([
      ["", 21],
      ["com.microsoft", 1],
    ]);
  });

  test("the operators can be of another version, Microsoft's stay what they are", () => {
    const model = new Message(encodeModelProto(EMPTY, 20));
    expect(model.messages(8).map((opset) => opset.number(2))).toEqual([20, 1]);
  });

  test("a graph has a name, which ONNX demands", () => {
    expect(graphOf({}).text(2)).not.toBe("");
  });

  test("a node", () => {
    const node = graphOf({
      nodes: [{ type: "Gemm", domain: "", name: "n", inputs: ["x", "", "w"], outputs: ["y"], attributes: {} }],
    }).message(1);
    expect(node.fieldNumbers).toEqual([1, 2, 3, 4]);
    expect([node.texts(1), node.texts(2), node.text(3), node.text(4)]).toEqual([["x", "", "w"], ["y"], "n", "Gemm"]);
  });

  test("a node of another domain", () => {
    const node = { type: "FusedMatMul", domain: "com.microsoft", name: "n", inputs: [], outputs: [], attributes: {} };
    expect(
      graphOf({ nodes: [node] })
        .message(1)
        .text(7),
    ).toBe("com.microsoft");
  });

  test.each<[what: string, value: Attribute, type: number, field: number, expected: unknown]>([
    ["an integer", 7, 2, 3, [7]],
    ["zero", 0, 2, 3, [0]],
    ["a negative integer", -1, 2, 3, [-1]],
    ["a large integer", 2 ** 40, 2, 3, [2 ** 40]],
    ["a float", { float: 0.5 }, 1, 2, [0.5]],
    ["a float that is a whole number", { float: 1 }, 1, 2, [1]],
    ["integers", [1, -2, 3], 7, 8, [1, -2, 3]],
    ["no integers", [], 7, 8, []],
  ])("an attribute: %s", (_what, value, type, field, expected) => {
    const node = { type: "T", domain: "", name: "n", inputs: [], outputs: [], attributes: { axis: value } };
    const attribute = graphOf({ nodes: [node] })
      .message(1)
      .message(5);
    expect([attribute.text(1), attribute.number(20), attribute.numbers(field)]).toEqual(["axis", type, expected]);
  });

  test("an attribute: a string", () => {
    const node = { type: "T", domain: "", name: "n", inputs: [], outputs: [], attributes: { mode: "é" } };
    const attribute = graphOf({ nodes: [node] })
      .message(1)
      .message(5);
    expect([attribute.text(1), attribute.number(20), attribute.text(4)]).toEqual(["mode", 3, "é"]);
  });

  test("an attribute: a graph", () => {
    const inner = { ...EMPTY, nodes: [{ type: "In", domain: "", name: "i", inputs: [], outputs: [], attributes: {} }] };
    const node = { type: "T", domain: "", name: "n", inputs: [], outputs: [], attributes: { body: { graph: inner } } };
    const attribute = graphOf({ nodes: [node] })
      .message(1)
      .message(5);
    expect([attribute.text(1), attribute.number(20)]).toEqual(["body", 5]);
    expect(attribute.message(6).message(1).text(4)).toBe("In");
  });

  test.each<[type: ElementType, number: number]>([
    ["float32", 1],
    ["int32", 6],
    ["int64", 7],
    ["bool", 9],
    ["float16", 10],
    ["bfloat16", 16],
  ])("inputs and outputs of %s, with sizes and named sizes", (elementType, number) => {
    const value = { name: "x", elementType, shape: ["batch", 3, 0] };
    const graph = graphOf({ inputs: [value], outputs: [{ ...value, name: "y", shape: [] }] });
    const tensor = graph.message(11).message(2).message(1);
    expect(graph.message(11).text(1)).toBe("x");
    expect(tensor.number(1)).toBe(number);
    expect(
      tensor
        .message(2)
        .messages(1)
        .map((size) => size.text(2) ?? size.number(1)),
    ).toEqual(["batch", 3, 0]);
    expect(graph.message(12).text(1)).toBe("y");
    expect(graph.message(12).message(2).message(1).message(2).messages(1)).toEqual([]);
  });

  test("an initializer with its bytes inside", () => {
    const data = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
    const tensor = graphOf({ initializers: [{ name: "c", elementType: "int64", shape: [1], data }] }).message(5);
    expect(tensor.fieldNumbers).toEqual([1, 2, 8, 9]);
    expect([tensor.numbers(1), tensor.number(2), tensor.text(8)]).toEqual([[1], 7, "c"]);
    expect([...(tensor.allBytes(9)[0] ?? [])]).toEqual([...data]);
  });

  test("an initializer whose bytes are in another file", () => {
    const data = { location: "sub/model.safetensors", offset: 5_000_000_001, byteLength: 24 };
    const tensor = graphOf({ initializers: [{ name: "w", elementType: "bfloat16", shape: [3, 4], data }] }).message(5);
    expect(tensor.fieldNumbers).toEqual([1, 2, 8, 13, 14]);
    expect([tensor.numbers(1), tensor.number(2), tensor.text(8), tensor.number(14)]).toEqual([[3, 4], 16, "w", 1]);
    expect(Object.fromEntries(tensor.messages(13).map((entry) => [entry.text(1), entry.text(2)]))).toEqual({
      location: "sub/model.safetensors",
      offset: "5000000001",
      length: "24",
    });
  });

  test("of any graph give back its names, attributes and order", () => {
    const text = fc.string({ unit: "grapheme" });
    const name = fc.record({ name: text, inputs: fc.array(text), outputs: fc.array(text), type: text });
    fc.assert(
      fc.property(fc.array(name), fc.dictionary(text, fc.maxSafeInteger()), (specs, attributes) => {
        const nodes = graphOf({ nodes: specs.map((spec) => ({ ...spec, domain: "", attributes })) }).messages(1);
        expect(
          nodes.map((node) => ({
            name: node.text(3),
            inputs: node.texts(1),
            outputs: node.texts(2),
            type: node.text(4),
          })),
        ).toEqual(specs);
        for (const node of nodes) {
          const read = node.messages(5).map((attribute) => [attribute.text(1), attribute.number(3)]);
          expect(read).toEqual(Object.entries(attributes));
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("the graph builder", () => {
  test("records nodes in order, each output under a name of its own", () => {
    const graph = new GraphBuilder();
    const x = graph.input("x", "float32", ["n"]);
    const [a = NONE, b = NONE] = graph.ops("Split", [x], 2, { attributes: { axis: 0 } });
    const y = graph.op("FusedMatMul", [a, NONE, b], { domain: MICROSOFT_DOMAIN });
    graph.output(y, "y", "float32", ["n"]);
    const { nodes, inputs, outputs } = graph.finish();
    expect(nodes.map(({ type, domain }) => [type, domain])).toEqual([
      ["Split", ""],
      ["FusedMatMul", "com.microsoft"],
      ["Identity", ""],
    ]);
    expect(nodes[0]).toMatchObject({ inputs: ["x"], outputs: [a, b], attributes: { axis: 0 } });
    expect(nodes[1]).toMatchObject({ inputs: [a, "", b], outputs: [y] });
    expect(nodes[2]).toMatchObject({ inputs: [y], outputs: ["y"] });
    expect(new Set([x, a, b, y, "y"]).size).toBe(5);
    expect([inputs, outputs].map(([value]) => value)).toEqual([
      { name: "x", elementType: "float32", shape: ["n"] },
      { name: "y", elementType: "float32", shape: ["n"] },
    ]);
  });

  test("a weight or constant that is asked for twice is there once", () => {
    const graph = new GraphBuilder();
    const data = { location: "f", offset: 0, byteLength: 4 };
    expect(graph.external("w", "float32", [1], data)).toBe(graph.external("w", "float32", [1], data));
    expect(graph.int64s([0, -1])).toBe(graph.int64s([0, -1]));
    expect(graph.int64s([0])).not.toBe(graph.int64s([0, -1]));
    const { initializers } = graph.finish();
    expect(initializers.map(({ shape }) => shape)).toEqual([[1], [2], [1]]);
    const bytes = initializers[1]?.data as Uint8Array;
    expect([...bytes]).toEqual([...new Array(8).fill(0), ...new Array(8).fill(255)]);
  });
});

describe("a graph inside a graph", () => {
  /** y = x doubled `times` times. */
  const doubling = () => {
    const graph = new GraphBuilder();
    const x = graph.input("x", "float32", [2]);
    const times = graph.input("times", "int64", []);
    const two = graph.float32(2);
    const body = graph.subgraph((inner) => {
      inner.input("iteration", "int64", []);
      inner.output(inner.input("goes_on", "bool", []), "goes_on_after", "bool", []);
      const sum = inner.input("x", "float32", [2]);
      // A value from outside, and a constant of the same number.
      const twice = inner.op("Mul", [sum, two]);
      inner.output(inner.op("Div", [inner.op("Mul", [twice, inner.float32(2)]), two]), "y", "float32", [2]);
    });
    const goesOn = graph.op("Cast", [times], { attributes: { to: ELEMENT_TYPES.bool } });
    graph.output(graph.op("Loop", [times, goesOn, x], { attributes: { body } }), "y", "float32", [2]);
    return { graph: graph.finish(), inner: body.graph };
  };

  test("has no name in common with the one around it", () => {
    const { graph, inner } = doubling();
    const namesOf = ({ nodes, inputs, initializers }: Graph) => [
      ...nodes.flatMap(({ name, outputs }) => [name, ...outputs]),
      ...[...inputs, ...initializers].map(({ name }) => name),
    ];
    const outer = new Set(namesOf(graph));
    expect(namesOf(inner).filter((name) => outer.has(name))).toEqual([]);
    expect(inner.initializers).toHaveLength(1);
  });

  test("is run by ONNX Runtime, and sees the values around it", async () => {
    const model = encodeModelProto(doubling().graph);
    const session = await openSession({ model, externalDataFolder: folder(), provider: "cpu", purpose: "a loop" });
    try {
      const { y } = await session.run({
        x: { type: "float32", data: Float32Array.of(1, -3), shape: [2] },
        times: { type: "int64", data: BigInt64Array.of(5n), shape: [] },
      });
      expect([...(y ?? [])]).toEqual([32, -96]);
    } finally {
      await session.release();
    }
  });
});

// One byte before the weight and the padding of the header decide where it begins.
test.each([0, 1, 2, 3])(
  "ONNX Runtime multiplies with a weight inside a safetensors file, %i bytes off alignment",
  async (off) => {
    const values = Float32Array.of(1, 2, 3, 4, 5, 6);
    const tensors = [
      { name: "byte", dtype: "U8", shape: [1], data: Uint8Array.of(255) },
      { name: "w", dtype: "F32", shape: [2, 3], data: new Uint8Array(values.buffer) },
    ];
    const unpadded = safetensorsOf(tensors).length - values.byteLength;
    const padding = (4 + off - (unpadded % 4)) % 4;
    const path = join(folder(), "model.safetensors");
    await writeFile(path, safetensorsOf(tensors, { padding }));
    const entry = (await readSafetensorsHeader(path)).tensors.find(({ name }) => name === "w");
    const { offset = 0, byteLength = 0 } = entry ?? {};
    expect(offset % 4).toBe(off);

    const graph = new GraphBuilder();
    const x = graph.input("x", "float32", ["rows", 3]);
    const w = graph.external("w", "float32", [2, 3], { location: "model.safetensors", offset, byteLength });
    const product = graph.op("FusedMatMul", [x, w], {
      domain: MICROSOFT_DOMAIN,
      attributes: { transB: 1, alpha: { float: 0.5 } },
    });
    graph.output(product, "y", "float32", ["rows", 2]);
    const session = await openSession({
      model: encodeModelProto(graph.finish()),
      externalDataFolder: folder(),
      provider: "cpu",
      purpose: "a product",
    });
    try {
      const { y } = await session.run({
        x: { type: "float32", data: Float32Array.of(1, 0, 0, 1, 1, 1), shape: [2, 3] },
      });
      expect([...(y ?? [])]).toEqual([0.5, 2, 3, 7.5]);
    } finally {
      await session.release();
    }
  },
);
