// Sessions: what goes in comes out, and every failure of ONNX Runtime is a ProviderError that says what it was for.

import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ProviderError } from "../../src/errors.js";
import { GraphBuilder } from "../../src/onnx/graph-builder.js";
import { type ElementType, encodeModelProto } from "../../src/onnx/model-proto.js";
import { openSession, runtimeVersion, type TensorData } from "../../src/runtime/session.js";
import { temporaryFolder } from "../helpers/golden-checkpoints.js";

const PURPOSE = "layers 3–4";

function open(model: Uint8Array, externalDataFolder = "/") {
  return openSession({ model, externalDataFolder, provider: "cpu", purpose: PURPOSE });
}

/** y = float32(x), and twice that. */
function doubling(type: ElementType): Uint8Array {
  const builder = new GraphBuilder();
  const x = builder.op("Cast", [builder.input("x", type, ["n"])], { attributes: { to: 1 } });
  builder.output(x, "y", "float32", ["n"]);
  builder.output(builder.op("Add", [x, x]), "twice", "float32", ["n"]);
  return encodeModelProto(builder.finish());
}

/** y = x + weight, with four float32 in a file. */
function adding(location: string): Uint8Array {
  const builder = new GraphBuilder();
  const weight = builder.external("weight", "float32", [4], { location, offset: 4, byteLength: 16 });
  builder.output(builder.op("Add", [builder.input("x", "float32", [4]), weight]), "y", "float32", [4]);
  return encodeModelProto(builder.finish());
}

const ZEROS: TensorData = { type: "float32", data: new Float32Array(4), shape: [4] };
const STORED = Buffer.from(Float32Array.of(9, 1, 2, 3, 4).buffer);

test.each<TensorData>([
  { type: "float32", data: Float32Array.of(1, -2), shape: [2] },
  { type: "int32", data: Int32Array.of(1, -2), shape: [2] },
  { type: "int64", data: BigInt64Array.of(1n, -2n), shape: [2] },
  { type: "float32", data: Float32Array.of(7, 1, -2, 7).subarray(1, 3), shape: [2] },
])("inputs of $type arrive, and all outputs come back by name (%#)", async (x) => {
  const session = await open(doubling(x.type));
  expect(await session.run({ x })).toEqual({ y: Float32Array.of(1, -2), twice: Float32Array.of(2, -4) });
  await session.release();
});

test("a session can run many times, with sizes of their own", async () => {
  const session = await open(doubling("float32"));
  for (const size of [1, 5, 2]) {
    const { y } = await session.run({ x: { type: "float32", data: new Float32Array(size), shape: [size] } });
    expect(y).toHaveLength(size);
  }
  await session.release();
});

describe("weights in another file", () => {
  test.each(["weights.bin", "deeper/weights.bin"])("are read at their offset: %s", async (location) => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, "deeper"));
    await writeFile(join(folder, location), STORED);
    const session = await open(adding(location), folder);
    expect(await session.run({ x: ZEROS })).toEqual({ y: Float32Array.of(1, 2, 3, 4) });
    await session.release();
  });

  test.each<[string, string, (folder: string) => Promise<void>]>([
    ["that is not there", "absent.bin", async () => {}],
    ["that is too short", "short.bin", (folder) => writeFile(join(folder, "short.bin"), STORED.subarray(0, 12))],
    ["outside of the folder", "../outside.bin", (folder) => writeFile(join(folder, "../outside.bin"), STORED)],
    // This is why links are resolved before a graph is built.
    [
      "behind a link that leaves the folder",
      "link.bin",
      async (folder) => {
        await writeFile(join(folder, "../outside.bin"), STORED);
        await symlink(join(folder, "../outside.bin"), join(folder, "link.bin"));
      },
    ],
  ])("%s are an error that says what the session was for", async (_rule, location, prepare) => {
    const folder = join(await temporaryFolder(), "inner");
    await mkdir(folder);
    await prepare(folder);
    const error = await open(adding(location), folder).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toHaveProperty("message", expect.stringContaining(`ONNX Runtime (cpu) could not open ${PURPOSE}: `));
  });
});

test.skipIf(process.platform !== "linux")(
  "a provider that this build does not have is an error that says so",
  async () => {
    const request = { model: doubling("float32"), externalDataFolder: "/", purpose: PURPOSE };
    const error = await openSession({ ...request, provider: "dml" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toHaveProperty(
      "message",
      expect.stringMatching(/^ONNX Runtime \(dml\) could not open layers 3–4: This build of onnxruntime-node/),
    );
  },
);

describe("an error of ONNX Runtime is a ProviderError with its cause", () => {
  test("when the model is none", async () => {
    const error = await open(Uint8Array.of(1, 2, 3)).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toHaveProperty("message", expect.stringContaining(`could not open ${PURPOSE}`));
    expect(error).toHaveProperty("cause", expect.any(Error));
  });

  test.each<[string, Record<string, TensorData>]>([
    ["an input is missing", {}],
    ["an input has another type", { x: { type: "int32", data: Int32Array.of(1), shape: [1] } }],
    ["an input has another number of axes", { x: { type: "float32", data: Float32Array.of(1), shape: [1, 1] } }],
  ])("when %s", async (_rule, inputs) => {
    const session = await open(doubling("float32"));
    const error = await session.run(inputs).catch((thrown: unknown) => thrown);
    await session.release();
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toHaveProperty("message", expect.stringContaining(`ONNX Runtime (cpu) failed in ${PURPOSE}: `));
  });
});

test("the version of ONNX Runtime is known, for provenance", () => {
  expect(runtimeVersion()).toMatch(/^1\.\d+\.\d+/);
});
